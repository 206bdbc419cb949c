"""From a configuration to a snapshot: everything arrives, in order, and what cannot be made is told with its place."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from math import inf
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

from propylon import Gateway
from propylon.build.errors import BuildError
from propylon.build.snapshot import build_snapshot
from propylon.config.load import validate
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.request_out import PRESERVE
from propylon.engine.snapshot import Snapshot
from tests.support.fakes import FakeClient, exchange
from tests.support.tunnels import HANDSHAKE

ROUTE = {"path": "/*", "respond": "ok"}


def built(*routes: dict[str, Any], **keys: Any) -> Snapshot:
    return build_snapshot(validate({"routes": list(routes) or [ROUTE], **keys}))


def asked(made: Snapshot, path: bytes, method: bytes = b"GET") -> tuple[Exchange, FakeClient]:
    client = FakeClient()
    x = exchange(made, client=client, path=path, method=method)
    x.start(forward(x))
    return x, client


@pytest.fixture
def module() -> Iterator[ModuleType]:
    made = ModuleType("module_of_a_test")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


# what arrives


def test_policies_run_in_the_order_gateway_service_route() -> None:
    service = {"endpoints": ["http://10.0.0.1:1"], "policies": [{"timeout": "1s"}]}
    made = built(
        {"path": "/a", "service": "s", "policies": ["request_id"]},
        {"path": "/b", "target": "http://10.0.0.2:1"},
        services={"s": service},
        policies=[{"body_limit": 5}],
    )
    assert [use.name for use in made.routes[0].policies] == ["body_limit", "timeout", "request_id"]
    assert [name for _, name in made.routes[0].pipeline.on_request] == ["body_limit", "timeout", "request_id"]
    assert [use.name for use in made.routes[1].policies] == ["body_limit"]


def test_an_answer_of_a_route_comes_behind_its_policies() -> None:
    made = built({"path": "/a", "redirect": {"path": "/b"}, "policies": ["request_id"]}, policies=[{"body_limit": 5}])
    assert [use.name for use in made.routes[0].policies] == ["body_limit", "request_id", "redirect"]
    assert made.routes[0].service is None
    _, client = asked(made, b"/a")
    assert client.heads[0][0] == 308


def test_requests_that_match_nothing_still_pass_the_gateways_policies_behind_them() -> None:
    class Recorder:
        calls: list[str] = []  # noqa: RUF012 - of this test

        def on_request(self, x: Exchange) -> None:
            self.calls.append("request")

        def on_error(self, x: Exchange, error: Exception) -> None:
            self.calls.append("error")

        def on_response(self, x: Exchange) -> None:
            self.calls.append("response")

        def on_done(self, x: Exchange) -> None:
            self.calls.append("done")

    made = built({"path": "/known", "respond": "ok"}, policies=[Recorder()])
    asked(made, b"/other")
    assert Recorder.calls == ["error", "response", "done"]


def test_routes_to_the_same_target_share_its_connections() -> None:
    made = built(
        {"path": "/a", "target": "http://10.0.0.1:1"},
        {"path": "/b", "target": "http://10.0.0.1:1"},
        {"path": "/c", "target": "http://10.0.0.2:1"},
    )
    first, second, third = (route.service for route in made.routes)
    assert first is second
    assert third is not first
    assert set(made.services) == {"http://10.0.0.1:1", "http://10.0.0.2:1"}


@pytest.mark.parametrize(
    ("host", "expected"), [("endpoint", None), ("preserve", PRESERVE), ("fixed.example:81", b"fixed.example:81")]
)
def test_a_service_is_built_as_it_is_configured(host: str, expected: bytes | None) -> None:
    connections = {"max": 2, "idle": 1, "idle_timeout": "none", "queue": 3, "queue_timeout": "2s"}
    endpoints = ["http://10.0.0.1:1", {"url": "http://10.0.0.2:1/base", "weight": 3}]
    made = built(
        {"path": "/*", "service": "s"},
        services={"s": {"endpoints": endpoints, "host": host, "connections": connections}},
    )
    service = made.services["s"]
    assert [(each.url, each.weight) for each in service.found] == [
        ("http://10.0.0.1:1", 1),
        ("http://10.0.0.2:1/base", 3),
    ]
    assert service.settings.host == expected
    limits = service.settings.transport.limits
    assert (limits.max, limits.idle, limits.idle_timeout, limits.queue, limits.queue_timeout) == (2, 1, inf, 3, 2.0)


def test_limits_times_and_rules_arrive() -> None:
    made = built(
        limits={
            "request_line": "1KiB",
            "header_block": "2KiB",
            "header_count": 7,
            "pipeline_buffer": "3KiB",
            "connections": 9,
        },
        timeouts={"header": "1s", "keep_alive": "none", "write": "2s", "body": "3s", "linger": "4s", "drain": "5s"},
        paths={"encoded_slashes": "keep", "semicolons": "keep"},
        field_names={"underscores": "drop"},
        forwarded={"x_forwarded": False, "standard": True, "via": False},
        trusted_proxies=["10.0.0.0/8"],
    )
    limits, times, rules = made.limits, made.client_timeouts, made.reader.rules
    assert (rules.max_line_bytes, rules.max_section_bytes) == (1024, 2048)
    assert (limits.pipeline_buffer, limits.connections) == (3072, 9)
    assert (times.header, times.keep_alive, times.write, times.body, times.linger, times.drain) == (1, inf, 2, 3, 4, 5)
    assert (rules.max_fields, rules.aliases) == (7, "drop")
    assert (rules.paths.encoded_slashes, rules.paths.semicolons) == (True, True)
    assert (made.forwarding.x_forwarded, made.forwarding.standard, made.forwarding.via) == (False, True, None)
    assert made.forwarding.trusted.contains(b"10.1.2.3")
    assert made.pseudonym == b""


def test_the_name_in_via_is_configured_or_its_own() -> None:
    assert built(name="front").pseudonym == b"front"
    default = built().pseudonym
    assert re.fullmatch(rb"propylon-[0-9a-f]{8}", default)
    assert built().pseudonym == default
    assert built(listen="127.0.0.1:1").pseudonym != built(listen="127.0.0.1:2").pseudonym


def test_error_pages_are_read_with_their_type(tmp_path: Path) -> None:
    (tmp_path / "404.html").write_bytes(b"<p>")
    (tmp_path / "any.json").write_bytes(b"{}")
    made = built(errors={"pages": {"404": str(tmp_path / "404.html"), "5xx": str(tmp_path / "any.json")}})
    assert made.error_pages["404"].content == b"<p>"
    assert made.error_pages["404"].content_type == "text/html; charset=utf-8"
    assert made.error_pages["5xx"].content_type == "application/json"


@pytest.mark.parametrize(
    ("keys", "path", "sent"),
    [
        ({"strip": "/a"}, b"/a/5/x", b"/5/x"),
        ({"rewrite": "/v2/{id}/{*}"}, b"/a/5/x", b"/v2/5/x"),
        ({"rewrite": {"prefix": "/a", "to": "/b"}}, b"/a/5/x", b"/b/5/x"),
        ({"rewrite": {"regex": "/a/(.*)", "to": r"/c/\1"}}, b"/a/5/x", b"/c/5/x"),
        ({}, b"/a/5/x", b"/a/5/x"),
    ],
)
def test_a_path_is_rewritten_as_it_is_configured(keys: dict[str, Any], path: bytes, sent: bytes) -> None:
    made = built({"path": "/a/{id}/*", "target": "http://10.0.0.1:1", **keys})
    x = exchange(made, path=path)
    route = made.match(x)
    rewrite = route.rewrite
    assert (path if rewrite is None else rewrite.apply(path, x)) == sent


def test_a_query_is_edited_as_it_is_configured() -> None:
    edit = {"set": {"a": "1"}, "add": {"b": "2"}, "remove": ["c"]}
    made = built({"path": "/*", "target": "http://10.0.0.1:1", "query_edit": edit})
    assert made.routes[0].query_edit is not None
    assert made.routes[0].query_edit.apply(b"c=3&a=0", exchange(made)) == b"a=1&b=2"


def test_a_route_is_named_or_called_what_it_matches() -> None:
    made = built({"path": ["/a", "/b"], "respond": "x"}, {"path": "/c", "name": "mine", "respond": "x"})
    assert [route.name for route in made.routes] == ["/a /b", "mine"]


def test_conditions_decide_whether_a_policy_applies() -> None:
    use = {"respond": {"status": 403}, "when": {"methods": ["POST"]}, "unless": [{"paths": ["/open/*"]}]}
    made = built(ROUTE, policies=[use])
    statuses = [asked(made, path, method)[1].heads[0][0] for path, method in
                ((b"/x", b"POST"), (b"/x", b"GET"), (b"/open/x", b"POST"))]  # fmt: skip
    assert statuses == [403, 200, 200]


def test_a_condition_may_be_a_function(module: ModuleType) -> None:
    module.always = lambda x: True  # type: ignore[attr-defined]
    made = built(ROUTE, policies=[{"respond": 403, "when": {"python": "module_of_a_test:always"}}])
    assert asked(made, b"/x")[1].heads[0][0] == 403


def test_services_json_lists_the_routes() -> None:
    docs = {"title": "Users"}
    made = built({"path": "/users/*", "respond": "x", "docs": docs}, {"path_regex": "/r[0-9]", "respond": "y"})
    _, client = asked(made, b"/services.json")
    assert orjson.loads(client.body) == [{"prefix": "/users", "docs": docs}, {"regex": "/r[0-9]"}]
    assert len(made.routes) == 2


@pytest.mark.parametrize(("setting", "status"), [(False, 404), ("/list", 404), (True, 200)])
def test_services_json_can_be_moved_and_switched_off(setting: object, status: int) -> None:
    made = built({"path": "/known", "respond": "x"}, services_json=setting)
    assert asked(made, b"/services.json")[1].heads[0][0] == status


# what cannot be made


def refused(*routes: dict[str, Any], **keys: Any) -> str:
    with pytest.raises(BuildError) as caught:
        built(*routes, **keys)
    return str(caught.value)


def test_a_policy_that_cannot_be_imported_is_told_with_its_place() -> None:
    entry = {"python": "no_such_module_at_all:x"}
    assert refused(policies=["request_id", entry]).startswith("policies.1: policy python: No module named")
    assert refused(ROUTE, {"path": "/b", "respond": "x", "policies": [entry]}).startswith("routes.1.policies.0: ")
    services = {"s": {"endpoints": ["http://10.0.0.1:1"], "policies": [entry]}}
    assert refused({"path": "/*", "service": "s"}, services=services).startswith("services.s.policies.0: ")


def test_a_policy_that_cannot_be_constructed_is_told(module: ModuleType) -> None:
    class Broken:
        def __init__(self) -> None:
            raise RuntimeError("needs a key")

    module.Broken = Broken  # type: ignore[attr-defined]
    assert refused(policies=[{"python": "module_of_a_test:Broken"}]) == "policies.0: policy python: needs a key"


def test_a_condition_that_cannot_be_imported_is_told() -> None:
    message = refused(policies=[{"respond": "x", "when": {"python": "module_that_is_not:x"}}])
    assert message.startswith("policies.0: policy respond: No module named")


def test_what_is_imported_and_is_no_policy_is_told(module: ModuleType) -> None:
    module.number = 5  # type: ignore[attr-defined]
    assert "policies.0: policy python" in refused(policies=[{"python": "module_of_a_test:number"}])


def test_a_condition_that_is_imported_and_cannot_be_called_is_told(module: ModuleType) -> None:
    module.number = 5  # type: ignore[attr-defined]
    message = refused(policies=[{"respond": "x", "when": {"python": "module_of_a_test:number"}}])
    assert message.startswith("policies.0: policy respond: ")


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    services = {"s": {"endpoints": ["https://10.0.0.1:1"], "tls": {"ca": str(path)}}}
    assert refused({"path": "/*", "service": "s"}, services=services).startswith("services.s.tls: ")


def test_an_error_page_that_is_gone_is_told(tmp_path: Path) -> None:
    path = tmp_path / "pages" / "404.html"
    path.parent.mkdir()
    path.write_text("x")
    config = validate({"routes": [ROUTE], "errors": {"pages": {"404": str(path)}}})
    shutil.rmtree(path.parent)
    with pytest.raises(BuildError, match=r"404"):
        build_snapshot(config)


def test_a_build_error_comes_out_of_the_gateway_before_anything_is_opened() -> None:
    made = Gateway(listen="127.0.0.1:0", policies=[{"python": "no_such_module_at_all:x"}]).route("/*", respond="x")
    with pytest.raises(BuildError):
        made.snapshot()


# WebSockets


@pytest.mark.parametrize(
    ("key", "refuses", "only"), [("allow", False, False), ("only", False, True), ("refuse", True, False)]
)
def test_what_a_route_does_with_websockets_arrives(key: str, refuses: bool, only: bool) -> None:
    made = built({"name": "r", "path": "/a", "target": "http://127.0.0.1:1", "websocket": key})
    (compiled,) = [each for each in made.routes if each.name == "r"]
    assert compiled.refuses_websockets is refuses
    page, socket = exchange(made, path=b"/a"), exchange(made, path=b"/a", fields=HANDSHAKE)
    assert found(made, page) == ("match.no_route" if only else "r")
    assert found(made, socket) == ("upgrade.refused" if refuses else "r")


def found(made: Snapshot, x: Exchange) -> str:
    """The name of the route, or why there is none."""
    try:
        return made.match(x).name
    except GatewayError as error:
        return error.code


def test_without_the_library_a_policy_for_messages_is_a_problem_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Looks:
        def on_message(self, *_: Any) -> None:
            pass

    monkeypatch.setitem(sys.modules, "propylon.engine.websocket.messages", None)
    gateway = Gateway().route("/a", target="http://127.0.0.1:1", policies=[Looks()])
    with pytest.raises(BuildError, match=r"needs the websockets library: install propylon\[websocket\]"):
        gateway.snapshot()
