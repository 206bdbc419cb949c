"""Routes of a configuration: what they match and change, their policies, and the list of them for clients."""

from __future__ import annotations

import sys
from typing import Any

import orjson
import pytest

from propylon import Gateway
from propylon.build.errors import BuildError
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.snapshot import Snapshot
from tests.support.built import asked, built
from tests.support.fakes import exchange
from tests.support.tunnels import HANDSHAKE


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
