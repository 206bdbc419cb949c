"""Words of other gateways: each problem says what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from propylon.config.load import validate
from propylon.config.other_words import _ALGORITHMS, _BY_MODEL, _PROVIDERS, way_of_module
from propylon.config.problems import ConfigError
from propylon.config.schema import GatewayConfig, ListenerConfig, RouteConfig, ServiceConfig
from propylon.plugins import BALANCERS, POLICIES, PROVIDERS
from tests.support.config import assert_problems

ROUTE = "services: {users: {endpoints: [http://h]}}\nroutes:\n  - path: /users/*\n    %s\n"
SERVICE = "services:\n  users:\n    %s\nroutes: [{path: /, service: users}]\n"
FLOW = "routes: [{path: /, respond: ok, %s}]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # keys of other gateways
        (
            ROUTE % "upstream: users",
            ["4:5: routes.0.upstream: unknown key 'upstream', write 'target: URL' for one endpoint"],
        ),
        (ROUTE % "url: http://h", ["4:5: routes.0.url: unknown key 'url', write 'target: URL'"]),
        (ROUTE % "to: http://h", ["4:5: routes.0.to: unknown key 'to', write 'target: URL'"]),
        (ROUTE % "proxy_pass: http://h", ["4:5: routes.0.proxy_pass: unknown key 'proxy_pass', write 'target: URL'"]),
        (
            ROUTE % "reverse_proxy: http://h",
            ["4:5: routes.0.reverse_proxy: unknown key 'reverse_proxy', write 'target"],
        ),
        (FLOW % "strip_prefix: /a", ["1:33: routes.0.strip_prefix: unknown key 'strip_prefix', write 'strip: /users'"]),
        (FLOW % "stripPrefix: /a", ["1:33: routes.0.stripPrefix: unknown key 'stripPrefix', write 'strip: /users'"]),
        (FLOW % "strip_path: true", ["1:33: routes.0.strip_path: unknown key 'strip_path', write 'strip: /users'"]),
        (
            FLOW % "auth: x",
            ["1:33: routes.0.auth: unknown key 'auth', authentication is not there yet: write it in Py"],
        ),
        (FLOW % "jwt: x", ["1:33: routes.0.jwt: unknown key 'jwt', authentication is not there yet"]),
        (FLOW % "cors: true", ["1:33: routes.0.cors: unknown key 'cors', CORS is not there yet: write it in Python"]),
        (
            FLOW % "rate_limit: 5",
            ["1:33: routes.0.rate_limit: unknown key 'rate_limit', limiting the rate is not there yet"],
        ),
        (
            FLOW % "middlewares: [a]",
            ["1:33: routes.0.middlewares: unknown key 'middlewares', write 'policies', a list"],
        ),
        (FLOW % "method: GET", ["1:33: routes.0.method: unknown key 'method', write 'methods: [GET]'"]),
        (FLOW % "hosts: [a]", ["1:33: routes.0.hosts: unknown key 'hosts', write 'host'"]),
        (
            FLOW % "entryPoints: [web]",
            ["1:33: routes.0.entryPoints: unknown key 'entryPoints', write 'listeners: [NAME"],
        ),
        (FLOW % "protocols: [https]", ["1:33: routes.0.protocols: unknown key 'protocols', write 'scheme: https'"]),
        (
            FLOW % "merge_slashes: x",
            ["1:33: routes.0.merge_slashes: unknown key 'merge_slashes', write 'path_rules: {"],
        ),
        ("routes: [{path: /, root: dist}]", ["1:20: routes.0.root: unknown key 'root', write 'files' in a route"]),
        ("listen: {address: ':1', id: a}", ["1:25: listen.id: unknown key 'id', write 'name'"]),
        (
            "policies: [{hsts: {}, when: {entrypoint: web}}]",
            ["1:30: policies.0.when.entrypoint: unknown key 'entrypoint', write 'listeners: [NAME]'"],
        ),
        (FLOW % "timeout: 5s", ["1:33: routes.0.timeout: unknown key 'timeout', write the policy 'timeout'"]),
        (
            "routes: [{rule: PathPrefix(`/a`), respond: ok}]",
            ["1:11: routes.0.rule: unknown key 'rule', write 'path', 'host', 'methods' and 'headers' instead"],
        ),
        ("routes: [{location: /a, respond: ok}]", ["1:11: routes.0.location: unknown key 'location', write 'path: /u"]),
        (
            SERVICE % "url: http://h",
            ["3:5: services.users.url: unknown key 'url', write 'endpoints: [http://127.0.0.1:"],
        ),
        (SERVICE % "servers: [a]", ["3:5: services.users.servers: unknown key 'servers', write 'endpoints: ["]),
        (
            SERVICE % "loadBalancer: {}",
            ["3:5: services.users.loadBalancer: unknown key 'loadBalancer', write 'endpoints' a"],
        ),
        (
            SERVICE % "{endpoints: [http://h], lb_policy: x}",
            ["3:29: services.users.lb_policy: unknown key 'lb_policy', wri"],
        ),
        (
            SERVICE % "{endpoints: [{target: http://h}]}",
            ["3:19: services.users.endpoints.0.target: unknown key 'target', w"],
        ),
        ("port: 8080", ["1:1: port: unknown key 'port', write 'listen: 127.0.0.1:8080'"]),
        (
            "upstreams: {a: 1}\nroutes: [{path: /, service: a}]",
            ["1:1: upstreams: unknown key 'upstreams', write 'service"],
        ),
        (
            "listen: {host: 0.0.0.0, port: 80}",
            ["1:10: listen.host: unknown key 'host', wr", "1:25: listen.port: unknown"],
        ),
        ("listen: {address: ':1', ssl: true}", ["1:25: listen.ssl: unknown key 'ssl', write 'tls: {certificate: FILE"]),
        ("listen: {address: ':1', tls: {cert: a}}", ["1:31: listen.tls.cert: unknown key 'cert', write 'certificate'"]),
        # names of policies, algorithms and providers
        ("policies: [cors]", ["1:12: policies.0: unknown policy 'cors', CORS is not there yet"]),
        ("policies: [{jwt: {}}]", ["1:13: policies.0.jwt: unknown policy 'jwt', authentication is not there yet"]),
        (
            "policies: [{rate-limiting: 5}]",
            ["1:28: policies.0.rate-limiting: unknown policy 'rate-limiting', limi"],
        ),
        ("policies: [{stripPrefix: /a}]", ["1:26: policies.0.stripPrefix: unknown policy 'stripPrefix', write 'strip"]),
        (
            "policies: [{add_header: {a: b}}]",
            ["1:13: policies.0.add_header: unknown policy 'add_header', write the pol"],
        ),
        (
            SERVICE % "{endpoints: [http://h], balance: least_conn}",
            ["3:38: services.users.balance: unknown balancing algor"],
        ),
        (
            SERVICE % "discover: {k8s: {}}",
            ["3:16: services.users.discover.k8s: unknown provider 'k8s', write 'kubernetes'"],
        ),
        # values
        ("listen: 9180", ["1:9: listen: a port alone: write 127.0.0.1:9180 for this machine only, or 0.0.0.0:9180"]),
        ("listen: '9180'", ["1:9: listen: a port alone: write 127.0.0.1:9180"]),
        ("listen: [80]", ["1:10: listen.0: a port alone: write 127.0.0.1:80"]),
        ("listen: '*:80'", ["1:9: listen: write the address alone: 0.0.0.0:80"]),
        ("listen: http://localhost:80/", ["1:9: listen: write the address alone: localhost:80"]),
        ("listen: 443 ssl", ["1:9: listen: write {address: 0.0.0.0:443, tls: {certificate: FILE, key: FILE}}"]),
        ("listen: localhost", ["1:9: listen: has no port: write localhost:8080"]),
        (ROUTE % "target: localhost:3000", ["4:13: routes.0.target: has no scheme: write http://localhost:3000"]),
        (ROUTE % "target: users", ["4:13: routes.0.target: has no scheme: write http://users, or 'service: users'"]),
        (ROUTE % "service: http://h", ["4:14: routes.0.service: unknown service 'http://h', write a URL as 'target'"]),
        (FLOW % "methods: get", ["1:42: routes.0.methods: methods are written in capitals: GET"]),
        (FLOW % "methods: 'GET, POST'", ["1:42: routes.0.methods: write a list: [GET, POST]"]),
        (FLOW % "host: 'https://a.example/'", ["1:39: routes.0.host: should be a host name without scheme and path"]),
        (
            FLOW % "headers: {set: {a: b}}",
            ["1:43: routes.0.headers.set: should be text, '*' for any value, or {regex: P"],
        ),
        (
            "routes: [{path: /, target: http://h, strip: true}]",
            ["1:45: routes.0.strip: should be the prefix to remove"],
        ),
        (SERVICE % "- http://h", ["2:3: services.users: should be settings: write {endpoints: [URL]}"]),
        ("services:\n  - {name: a}\nroutes: [{path: /, service: a}]", ["1:1: services: should be a mapping of keys"]),
        ("routes:\n  path: /\n  respond: ok", ["1:1: routes: should be a list, begin each item with '- '"]),
    ],
)
def test_a_word_of_another_gateway_has_a_way_out(text: str, expected: list[str], tmp_path: Path) -> None:
    assert_problems(text, expected, tmp_path)


def test_no_word_of_another_gateway_is_one_of_ours_elsewhere() -> None:
    """A word that is a key already is never looked up."""
    for kind, plugins in (("policy", POLICIES), ("balancing algorithm", BALANCERS), ("provider", PROVIDERS)):
        named = {name for name in plugins.names() if (way := way_of_module(kind, name)) and name not in way.hint}
        assert named <= {"headers", "timeout", "redirect"}
    assert set(_BY_MODEL) >= {each.__name__ for each in (GatewayConfig, ListenerConfig, RouteConfig, ServiceConfig)}


@pytest.mark.parametrize(("table", "key"), [(_ALGORITHMS, "balance"), (_PROVIDERS, "discover")])
def test_what_a_hint_names_exists(table: tuple[tuple[str, str, str], ...], key: str) -> None:
    plugins = BALANCERS if key == "balance" else PROVIDERS
    for hint, _, _ in table:
        words = hint.replace("'", " ").replace("{", " ").replace(":", " ").split()
        assert {"name", "there", "priority", "endpoints", *plugins.names()} & set(words), hint


def test_a_program_is_told_the_same() -> None:
    with pytest.raises(ConfigError) as raised:
        validate({"routes": [{"path": "/", "upstream": "http://h"}]})
    assert [each.hint for each in raised.value.problems] == ["write 'target: URL' for one endpoint, or 'service: NAME'"]
