"""The models: defaults, short forms, and what Python adds."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from propylon.config.load import validate
from propylon.config.problems import ConfigError
from propylon.config.schema import GatewayConfig, PolicyEntry
from propylon.routing.match import Regex

ROUTE = {"path": "/a", "respond": "ok"}
LISTS = {
    "absent", "clients", "endpoints", "from", "host", "methods", "on", "origins", "path", "paths", "policies", "remove",
    "servers", "trusted_proxies",
}  # fmt: skip


def route(**keys: Any) -> Any:
    return validate({"routes": [{"path": "/a", "target": "http://127.0.0.1:1", **keys}]}).routes[0]


def service(**keys: Any) -> Any:
    data = {"services": {"s": {"endpoints": ["http://127.0.0.1:1"], **keys}}}
    return validate(data).services["s"]


def problem(data: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as raised:
        validate(data)
    return str(raised.value)


def test_the_defaults_are_those_of_the_documentation() -> None:
    config = GatewayConfig()
    assert [str(listener.address) for listener in config.listen] == ["127.0.0.1:8080"]
    assert config.services_json == "/services.json"
    assert config.limits.model_dump() == {
        "request_line": 8192,
        "header_block": 32768,
        "header_count": 100,
        "pipeline_buffer": 65536,
        "write_buffer": 262144,
        "connections": None,
    }
    assert config.timeouts.model_dump() == {
        "header": 10.0,
        "keep_alive": 75.0,
        "write": 60.0,
        "body": 60.0,
        "linger": 5.0,
        "drain": 30.0,
        "tcp_keepalive": 30.0,
        "tcp_user_timeout": None,
    }
    assert (config.paths.encoded_slashes, config.field_names.underscores) == ("refuse", "refuse")
    connections = service().connections
    assert (connections.max, connections.idle, connections.idle_timeout) == (4096, 256, 55.0)
    assert (connections.max_age, connections.follow_dns) == (3600.0, True)
    assert (connections.queue, connections.queue_timeout, service().host) == (1024, 5.0, "endpoint")


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        GatewayConfig().name = "other"


@pytest.mark.parametrize(
    ("listen", "addresses"),
    [
        (":8080", [":8080"]),
        ("[::1]:80", ["[::1]:80"]),
        ({"address": "unix:/run/p.sock"}, ["unix:/run/p.sock"]),
        (["127.0.0.1:1", {"address": "127.0.0.1:2", "backlog": 5}], ["127.0.0.1:1", "127.0.0.1:2"]),
    ],
)
def test_a_listener_is_an_address_or_a_mapping_or_a_list(listen: Any, addresses: list[str]) -> None:
    assert [str(each.address) for each in validate({"listen": listen}).listen] == addresses


def test_the_proxy_protocol_is_believed_from_networks() -> None:
    listen = {"address": ":80", "proxy_protocol": {"from": ["10.0.0.0/8", "::1"]}}
    found = validate({"listen": listen}).listen[0].proxy_protocol
    assert found is not None
    assert found.from_ == (ip_network("10.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(("written", "path"), [(True, "/services.json"), (False, None), ("/s.json", "/s.json")])
def test_the_list_of_services_has_a_path_or_none(written: Any, path: str | None) -> None:
    assert validate({"services_json": written}).services_json == path


@pytest.mark.parametrize("written", ["none", 0])
def test_a_limit_of_connections_is_switched_off(written: Any) -> None:
    assert validate({"limits": {"connections": written}}).limits.connections is None


@pytest.mark.parametrize(
    ("servers", "read"),
    [(["127.0.0.1"], "127.0.0.1:53"), (["127.0.0.1:5353"], "127.0.0.1:5353"), (["::1"], "[::1]:53"),
     (["[::1]:54"], "[::1]:54")],
)  # fmt: skip
def test_a_dns_server_has_a_port(servers: list[str], read: str) -> None:
    assert validate({"dns": {"servers": servers}}).dns.servers == (read,)


def test_header_and_query_conditions_are_those_of_the_router() -> None:
    found = route(headers={"x": "1", "y": "*", "z": {"regex": "a+"}})
    assert found.headers == {"x": "1", "y": "*", "z": Regex("a+")}


def test_one_host_and_one_path_need_no_list() -> None:
    found = route(host="app.example")
    assert (found.host, found.path) == (("app.example",), ("/a",))


@pytest.mark.parametrize(
    ("rewrite", "fields"),
    [
        ("/b", {"template": "/b"}),
        ({"prefix": "/a", "to": "/b"}, {"prefix": "/a", "to": "/b"}),
        ({"regex": "/(a)", "to": "/\\1"}, {"regex": "/(a)", "to": "/\\1"}),
    ],
)
def test_a_rewrite_has_three_forms(rewrite: Any, fields: dict[str, str]) -> None:
    assert route(rewrite=rewrite).rewrite.model_dump(exclude_none=True) == fields


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"query_edit": {"set": {"a": "1"}, "remove": ["a"]}},
            "routes.0.query_edit.remove.0: 'a' is removed and given",
        ),
        ({"query_edit": {"add": {"": "1"}}}, "routes.0.query_edit.add.: should not be empty"),
        ({"rewrite": {"prefix": "/a", "regex": "/a", "to": "/"}}, "routes.0.rewrite: a rewrite is a template, {prefix"),
        ({"rewrite": {"template": "/a", "to": "/"}}, "routes.0.rewrite.to: 'to' is of no use with a template"),
        ({"rewrite": 3}, "routes.0.rewrite: should be a template, {prefix, to} or {regex, to} (got 3)"),
        ({"strip": "/a{x}"}, "routes.0.strip: strip '/a{x}': parameters and '*' only work in a template"),
        ({"priority": "high"}, "routes.0.priority: should be a whole number (got 'high')"),
        ({"priority": True}, "routes.0.priority: should be a whole number (got true)"),
        ({"clients": ["10.0.0.1/8"]}, "write 10.0.0.0/8 for the network"),
        ({"methods": []}, "routes.0.methods: should not be empty"),
        ({"target": None}, "routes.0: a route needs a destination"),
    ],
)
def test_a_wrong_route_says_what_is_wrong(keys: dict[str, Any], message: str) -> None:
    assert message in problem({"routes": [{"path": "/a", "target": "http://127.0.0.1:1", **keys}]})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"tls": {"verify": False}}, "services.s.tls: no endpoint of this service is https"),
        ({"tls": {"certificate": __file__}}, "services.s.tls.certificate: 'certificate' is of no use without 'key'"),
        ({"tls": {"verify": False, "ca": __file__}}, "services.s.tls.ca: 'ca' is of no use with 'verify: false'"),
        ({"tls": {"ca": "nowhere.pem"}}, "services.s.tls.ca: cannot be read: No such file or directory"),
        ({"host": "a b"}, "services.s.host: not a host name"),
        ({"connections": {"queue_timeout": "none"}}, "services.s.connections.queue_timeout: not a duration"),
        ({"endpoints": [{"weight": 1}]}, "services.s.endpoints.0.url: required key is missing"),
        ({"endpoints": [{"url": "http://a", "weight": -1}]}, "should be greater than or equal to 0 (got -1)"),
    ],
)
def test_a_wrong_service_says_what_is_wrong(keys: dict[str, Any], message: str) -> None:
    assert message in problem({"services": {"s": {"endpoints": ["http://127.0.0.1:1"], **keys}}})


@pytest.mark.parametrize("name", ["a b", "", "-a", "ä", "a/b", "a\n", "a" * 101])
def test_the_name_of_a_service_is_plain(name: str) -> None:
    told = problem({"services": {name: {"endpoints": ["http://a"]}}})
    assert "not a name of a service: write letters, digits, '_', '.' and '-', 100 at most" in told


def test_tls_files_become_absolute_paths() -> None:
    found = service(endpoints=["https://a"], tls={"ca": __file__})
    assert found.tls.ca == Path(__file__)


def a_function(exchange: Any) -> None:
    """A policy."""


class AnObject:
    """A policy with one hook."""

    def on_done(self, exchange: Any) -> None:
        """Do nothing."""


@pytest.mark.parametrize(("policy", "name"), [(a_function, "a_function"), (AnObject(), "AnObject")])
def test_a_callable_and_an_object_are_policies(policy: Any, name: str) -> None:
    entry = validate({"policies": [policy]}).policies[0]
    assert (entry.name, entry.instance, entry.config) == (name, policy, None)
    assert PolicyEntry.of(policy).instance is policy


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (AnObject, "policies.0: AnObject is a class: give an instance, AnObject(...)"),
        (object(), "policies.0: object is no policy: give a callable, or an object with on_request"),
        (3, "policies.0: int is no policy"),
        ("broken", "policies.0: the policy 'broken' cannot be used: its module has no Policy"),
        ({"colour": {"depth": {"metres": 1, "meters": 2}}}, "unknown key 'meters', did you mean 'metres'?"),
        ({"colour": 3}, "policies.0.colour: should be a mapping of keys to values"),
        ({"colour": {}, "when": {"python": "no reference"}}, "policies.0.when.python: should be module:function"),
    ],
)
def test_a_wrong_policy_says_what_is_wrong(policy: Any, message: str) -> None:
    assert message in problem({"policies": [policy]})


def test_a_policy_without_settings_has_its_defaults() -> None:
    forms: list[Any] = ["colour", {"colour": None}, {"colour": {}}]
    for written in forms:
        assert validate({"policies": [written]}).policies[0].config.shade == "light"


def test_a_configuration_with_objects_of_its_own_is_accepted() -> None:
    entry = PolicyEntry.of(a_function)
    assert validate({"policies": [entry]}).policies == (entry,)


def test_a_route_lets_websockets_pass_unless_it_says_otherwise() -> None:
    assert route().websocket == "allow"
    assert route(websocket="only").websocket == "only"
    told = problem({"routes": [{"path": "/a", "target": "http://127.0.0.1:1", "websocket": "no"}]})
    assert "routes.0.websocket" in told or "websocket" in told


@pytest.mark.parametrize(
    "written",
    [
        {"trusted_proxies": "10.0.0.0/8"},
        {"dns": {"servers": "127.0.0.1:53"}},
        {"listen": {"address": ":0", "proxy_protocol": {"from": "10.0.0.0/8"}}},
        {"policies": [{"headers": {"request": {"remove": "X-A"}}}]},
        {"policies": [{"websocket": {"origins": "https://a.example"}}]},
        {"policies": [{"hsts": {}, "when": {"methods": "GET", "paths": "/a"}}]},
        {"services": {"s": {"endpoints": "http://127.0.0.1:1", "retry": {"on": "connect", "methods": "GET"}}}},
        {"services": {"s": {"discover": {"etcd": {"endpoints": "http://127.0.0.1:1", "prefix": "p"}}}}},
        {
            "routes": [
                {
                    "path": "/a",
                    "host": "a",
                    "methods": "GET",
                    "clients": "10.0.0.0/8",
                    "target": "http://a",
                    "query_edit": {"remove": "q"},
                }
            ]
        },
        {"routes": [ROUTE], "tests": [{"request": "GET /a", "expect": {"policies": "hsts", "absent": "X-A"}}]},
    ],
)
def test_one_text_may_stand_for_a_list(written: dict[str, Any]) -> None:
    def listed(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: [each] if key in LISTS and isinstance(each, str) else listed(each) for key, each in value.items()
            }
        return [listed(each) for each in value] if isinstance(value, list) else value

    assert listed(written) != written
    assert validate(written) == validate(listed(written))


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("x-forwarded-proto", "scheme: https"),
        ("X-Forwarded-Ssl", "scheme: https"),
        ("X_Scheme", "scheme: https"),
        ("x-forwarded-for", "clients: [10.0.0.0/8]"),
        ("X-Real-IP", "clients: [10.0.0.0/8]"),
        ("CF-Connecting-IP", "clients: [10.0.0.0/8]"),
        ("X-Forwarded-Host", "host: [app.example]"),
        ("x-forwarded-user", "trusted_proxies"),
        ("x-original-url", "remove it"),
        ("via", "remove it"),
    ],
)
def test_a_matcher_on_what_clients_cannot_set_is_refused_with_the_way_out(name: str, way_out: str) -> None:
    told = problem({"routes": [{"path": "/a", "target": "http://127.0.0.1:1", "headers": {name: "*"}}]})
    assert f"routes.0.headers.{name}: clients cannot set {name}" in told
    assert way_out in told
    condition = {"headers": {name: "*"}}
    told = problem({"policies": [{"respond": "x", "unless": [{"methods": ["GET"]}, condition]}]})
    assert f"policies.0.unless.1.headers.{name}: clients cannot set {name}" in told
    assert way_out.replace("host:", "hosts:") in told


def test_a_test_may_expect_what_clients_cannot_set() -> None:
    expect = {"sent": {"headers": {"x-forwarded-proto": "https"}}}
    assert validate({"tests": [{"request": "GET /", "expect": expect}]}).tests


LISTENERS = ["127.0.0.1:8080", {"address": "127.0.0.1:9000", "name": "internal"}]


@pytest.mark.parametrize("name", ["internal", "127.0.0.1:9000", ":8080"])
def test_a_listener_is_named_by_its_name_or_address(name: str) -> None:
    data = {"listen": [*LISTENERS, ":8080"], "routes": [{"path": "/a", "respond": "x", "listeners": [name]}]}
    assert validate(data).routes[0].listeners == (name,)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            {"routes": [{"path": "/a", "respond": "x", "listeners": ["intern"]}]},
            "routes.0.listeners.0: unknown listener",
        ),
        ({"routes": [{"path": "/a", "respond": "x", "listeners": "intern"}]}, "did you mean 'internal'"),
        ({"routes": [{"path": "/a", "respond": "x", "listeners": []}]}, "routes.0.listeners"),
        ({"policies": [{"respond": "x", "when": {"listeners": ["a:1"]}}]}, "policies.0.when.listeners.0: unknown"),
        ({"policies": [{"respond": "x", "when": [{"listeners": "x"}]}]}, "policies.0.when.0.listeners: unknown"),
        (
            {
                "services": {
                    "s": {"endpoints": ["http://a"], "policies": [{"respond": "x", "unless": {"listeners": "x"}}]}
                }
            },
            "services.s.policies.0.unless.listeners: unknown",
        ),
        ({"tests": [{"request": "GET /", "listener": "x", "expect": {"status": 200}}]}, "tests.0.listener: unknown"),
        (
            {"listen": [*LISTENERS, {"address": ":1", "name": "internal"}]},
            "listen.2.name: the name 'internal' is already",
        ),
        ({"listen": [{"address": ":1", "name": "a:1"}]}, "listen.0.name"),
    ],
)
def test_a_listener_that_is_not_there_is_a_problem(data: dict[str, Any], told: str) -> None:
    assert told in problem({"listen": LISTENERS} | data)


def test_without_listeners_there_is_none_to_name() -> None:
    assert "write 'listen'" in problem({"routes": [{"path": "/a", "respond": "x", "listeners": ["internal"]}]})


def test_an_address_that_is_listed_twice_names_no_listener() -> None:
    data = {"listen": [":0", ":0"], "routes": [{"path": "/a", "respond": "x", "listeners": [":0"]}]}
    assert "unknown listener ':0'" in problem(data)


def test_a_redirect_to_https_of_https_requests_is_refused() -> None:
    data = {"routes": [{"path": "/a", "scheme": "https", "redirect": {"https": True, "status": 301}}]}
    assert "remove 'scheme'" in problem(data)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"mode": 660}, "in quotes"),
        ({"mode": 0o660}, "in quotes"),
        ({"mode": "rw-rw----"}, "octal"),
        ({"mode": "0888"}, "octal"),
        ({"address": ":80", "mode": "0660"}, "'mode' is for Unix sockets only"),
        ({"address": ":80", "owner": "www"}, "'owner' is for Unix sockets only"),
        ({"owner": -1}, "owner"),
    ],
)
def test_mode_and_owner_are_those_of_a_unix_socket(keys: dict[str, Any], told: str) -> None:
    assert told in problem({"listen": {"address": "unix:/run/p.sock"} | keys})
