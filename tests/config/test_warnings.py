"""Warnings: each for what was surely not meant, and none for what somebody may mean."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from propylon import Gateway
from propylon.config.load import load
from propylon.config.warnings import warnings_of
from tests.docs.test_docs import ROOT, base_of, blocks

ONE = "services: {a: {endpoints: [http://127.0.0.1:1], %s}}\nroutes: [{path: /, service: a}]\n"
TWO = "services: {a: {endpoints: [http://127.0.0.1:1, http://127.0.0.1:2], %s}}\nroutes: [{path: /, service: a}]\n"
FAR = "services: {a: {endpoints: [https://10.0.0.1, https://10.0.0.2], %s}}\nroutes: [{path: /, service: a}]\n"


def warned(text: str, folder: Path) -> list[str]:
    """Return line, path and the beginning of the message of each warning."""
    file = folder / "gateway.yaml"
    file.write_text(text)
    return [f"{each.line} {each.path}: {each.message}" for each in warnings_of(load(file))]


def routes(*lines: str) -> str:
    return "routes:\n" + "".join(f"- {{{line}, respond: ok}}\n" for line in lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (routes("path: /a", "path: /a"), "3 routes.1: can never match: routes.0 (line 2) takes all"),
        (routes('path: "/o/{id}"', 'path: "/o/{name}"'), "3 routes.1: can never match: routes.0 (line 2)"),
        (routes("path: /a", "path: /*, priority: 1"), "2 routes.0: can never match: routes.1 (line 3)"),
        (routes("path: /a", "path: [/a, /b]"), "3 routes.1.path.0: can never match: routes.0 (line 2)"),
        (routes("path: /a", "path: /b", "path: [/a, /b]"), "4 routes.2: can never match: routes.0 (line 2)"),
        (routes("path: /a, host: [a.test, b.test]", "path: /a, host: b.test"), "3 routes.1: can never match: routes.0"),
        (routes("path: /a, host: b.test", "path: /a, host: [a.test, b.test]"), "3 routes.1.host.1: can never match"),
        (routes("path: [/a, /a]"), "2 routes.0.path.1: is in the list twice"),
        (routes("path: /a, websocket: only, methods: [POST]"), "2 routes.0.websocket: can never match: a WebSocket"),
        ("services: {a: {endpoints: [http://h]}}\n" + routes("path: /"), "1 services.a: is used by no route"),
        ("listen: 0.0.0.0:80\n", "1 listen: everybody can read the list of services at /services.json"),
        ('listen: [127.0.0.1:1, ":80"]\n', "1 listen.1: everybody can read"),
        (
            "trusted_proxies: [10.0.0.0/8, 0.0.0.0/0]\n",
            "1 trusted_proxies.1: 0.0.0.0/0 is a part of the whole internet",
        ),
        ('trusted_proxies: ["2000::/3"]\n', "1 trusted_proxies.0: 2000::/3 is a part"),
        (
            "listen: {address: 127.0.0.1:1, proxy_protocol: {from: [128.0.0.0/1]}}\n",
            "1 listen.proxy_protocol.from.0: 128.0.0.0/1 is a part of the whole internet",
        ),
        ("policies:\n- request_id\n- request_id\n", "3 policies.1: the policy 'request_id' is in the list twice"),
        ("listen: 127.0.0.1:1\npolicies: [hsts]\n", "2 policies.0: has no effect: no listener has TLS"),
        (
            "policies: [{timeout: {response: 9s, total: 5s}}]\n",
            "1 policies.0.timeout.response: 9s is longer than 'total'",
        ),
        (ONE % "retry: 3", "1 services.a.retry: has no effect: a retry goes to another endpoint"),
        (ONE % "hedge: 1s", "1 services.a.hedge: has no effect: a second attempt"),
        (ONE % "balance: sticky", "1 services.a.balance: 'sticky' has no effect"),
        ("routes: [{path: /, target: http://h, retry: 3}]\n", "1 routes.0.retry: has no effect: a retry goes"),
        (
            TWO % "health: {path: /, interval: 1s, timeout: 2s}",
            "1 services.a.health.timeout: 2s is longer than 'interval'",
        ),
        (TWO % "hedge: 2s, retry: {per_try: 1s}", "1 services.a.hedge: 2s is longer than 'per_try'"),
        (TWO % "connections: {max: 5, idle: 6}", "1 services.a.connections.idle: keeps more idle connections"),
        (FAR % "tls: {verify: false}", "1 services.a.tls.verify: certificates are not verified"),
        (
            "services: {a: {endpoints: [{url: http://h, weight: 0}]}}\nroutes: [{path: /, service: a}]\n",
            "1 services.a.endpoints: no endpoint has a weight above 0",
        ),
        (
            "services: {a: {endpoints: [http://h/api], health: /api/ok}}\nroutes: [{path: /, service: a}]\n",
            "1 services.a.health: is below the endpoint's own path: the check asks for /api/api/ok",
        ),
        (
            "services: {a: {endpoints: [{url: http://h, zone: z}]}}\nroutes: [{path: /, service: a}]\n",
            "1 services.a.endpoints.0.zone: has no effect: the gateway itself has no zone",
        ),
        ("zone: a\n", "1 zone: has no effect: no endpoint has a zone"),
        (
            "routes: [{path: /, target: http://127.0.0.1:8080}]\n",
            "1 routes.0.target: is a listener of this gateway itself",
        ),
        (
            'listen: 127.0.0.1:80\nroutes: [{path: /, target: "http://localhost"}]\n',
            "2 routes.0.target: is a listener of this gateway itself, listen (line 1)",
        ),
    ],
)
def test_what_was_surely_not_meant_is_warned_of(text: str, expected: str, tmp_path: Path) -> None:
    found = warned(text, tmp_path)
    assert len(found) == 1, found
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        routes("path: /a, methods: [GET]", "path: /a"),
        routes("path: /a, host: a.test", "path: /a, host: b.test"),
        routes("path: [/a, /b], host: [a.test, b.test]", "path: [/a, /c], host: [b.test, c.test]"),
        routes("path: /a, websocket: only"),
        "services: {a: {endpoints: [http://h]}}\npolicies: [{python: 'm:f'}]\n" + routes("path: /"),
        "services: {a: {endpoints: [http://h]}}\nroutes: [{path: /, respond: ok, policies: [{mirror: a}]}]\n",
        "services: {a: {endpoints: [http://h]}}\nroutes: [{path: /, target: http://i, fallback: {service: a}}]\n",
        "services: {a: {endpoints: [http://h]}}\nroutes: [{path: /, split: {services: {a: 1}}}]\n",
        "listen: 0.0.0.0:80\nservices_json: true\n",
        "listen: 0.0.0.0:80\nservices_json: false\n",
        "listen: [10.0.0.1:80, 'unix:/run/p.sock']\n",
        "listen: {address: ':80', redirect_https: true}\n",
        "listen: ':80'\npolicies: [{python: 'm:guard'}]\n",
        "trusted_proxies: [10.0.0.0/8, 'fd00::/16', unix]\n",
        "policies: [{headers: {response: {set: {a: b}}}}, {headers: {response: {set: {a: c}}}}]\n",
        "listen: 127.0.0.1:1\ntrusted_proxies: [127.0.0.1]\npolicies: [hsts]\n",
        "policies: [{timeout: {response: 5s, total: 5s}}]\n",
        ONE % "retry: 1",
        ONE % "retry: {same_endpoint: true}",
        ONE % "balance: round_robin, breaker: {consecutive: 3}",
        "services: {a: {discover: {dns: {name: a.test, port: 80}}, retry: 3, hedge: 1s}}\n"
        "routes: [{path: /, service: a}]\n",
        TWO % "retry: 3, hedge: 1s, balance: sticky, health: {path: /api, interval: 1s}",
        "services: {a: {endpoints: [https://127.0.0.1], tls: {verify: false}}}\nroutes: [{path: /, service: a}]\n",
        "zone: a\nservices: {a: {endpoints: [{url: http://h, zone: b}]}}\nroutes: [{path: /, service: a}]\n",
        "listen: 127.0.0.1:0\nroutes: [{path: /, target: http://127.0.0.1:8080}]\n",
        "listen: 127.0.0.1:8080\nroutes: [{path: /, target: http://10.0.0.1:8080}]\n",
    ],
)
def test_what_may_be_meant_is_not(text: str, tmp_path: Path) -> None:
    assert warned(text, tmp_path) == []


def test_the_certificate_of_a_development_authority_is_not_for_everybody(tmp_path: Path) -> None:
    from propylon.cli._authority import make_certificate

    make_certificate(["a.test"], tmp_path, overwrite=False)
    text = "services_json: false\nlisten: {address: '%s', tls: {certificate: a.test.pem, key: a.test.key}}\n"
    found = warned(text % ":443", tmp_path)
    assert [each[:22] for each in found] == ["2 listen.tls: has a ce"]
    assert warned(text % "127.0.0.1:443", tmp_path) == []


def test_code_may_use_any_service() -> None:
    class Asks:
        def on_request(self, x: Any) -> None: ...

    def only_looks(x: Any) -> None: ...

    for policy, expected in ((Asks(), 0), (only_looks, 1)):
        gateway = Gateway(services={"a": {"endpoints": ["http://h"]}}, policies=[policy])
        gateway.route("/", respond="ok")
        assert len(warnings_of(gateway.loaded())) == expected


@pytest.mark.parametrize(("path", "text"), blocks("yaml"))
def test_the_documentation_has_nothing_to_be_warned_of(path: Path, text: str, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    loaded = load(file, base_dir=base_of(text, tmp_path))
    assert list(map(str, warnings_of(loaded))) == []


@pytest.mark.parametrize("file", [*sorted(ROOT.glob("examples/**/gateway.yaml")), ROOT / "examples" / "minimal.yaml"])
def test_the_examples_have_nothing_to_be_warned_of(file: Path) -> None:
    assert list(map(str, warnings_of(load(file)))) == []


@pytest.mark.parametrize("file", sorted(ROOT.glob("examples/**/gateway.py")))
def test_the_programs_among_them_neither(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    monkeypatch.syspath_prepend(str(file.parent))
    gateway = runpy.run_path(str(file))["gateway"]
    assert list(map(str, warnings_of(gateway.loaded()))) == []
