"""`propylon routes`."""

import json
from pathlib import Path
from typing import Any


def test_routes_are_listed_in_the_order_in_which_they_are_tried(run: Any) -> None:
    result = run("routes", "good.yaml")
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert lines[0] == ["#", "NAME", "HOST", "PATH", "METHODS", "CONDITIONS", "GOES", "TO"]
    assert [line[1] for line in lines[1:]] == ["/hello", "bye", "user", "/users/*"]


def test_a_route_tells_its_conditions_and_where_it_goes(run: Any) -> None:
    found = {route["name"]: route for route in json.loads(run("routes", "good.yaml", "--json").output)}
    assert found["/users/*"]["conditions"] == ["header x-a", "header x-b matches b+"]
    assert found["/hello"]["conditions"] == ["client in 10.0.0.0/8"]
    assert found["/hello"]["priority"] == 5
    assert found["user"]["service"] == "users"
    assert found["user"]["endpoints"][1] == {"url": "http://127.0.0.1:3002/base", "weight": 2}
    assert found["user"]["policies"]["on_request"][-1] == "body_limit (on a condition)"
    assert (found["bye"]["hosts"], found["bye"]["service"]) == (["bye.example"], None)


def test_a_gateway_without_routes_says_so(run: Any, folder: Path) -> None:
    (folder / "empty.yaml").write_text("services_json: false")
    assert run("routes", "empty.yaml").output == "empty.yaml has no routes: every request is answered with 404\n"


def test_the_routes_of_a_python_gateway_in_a_process(spawn: Any) -> None:
    result = spawn("routes", "app:gateway")
    assert result.returncode == 0
    assert "/x/*" in result.stdout


def test_a_route_tells_what_it_does_with_websockets(run: Any, folder: Path) -> None:
    (folder / "sockets.yaml").write_text(
        "routes:\n"
        "  - {name: shut, path: /a, target: 'http://127.0.0.1:1', websocket: refuse}\n"
        "  - {name: live, path: /b, target: 'http://127.0.0.1:1', websocket: only}\n"
        "  - {name: open, path: /c, target: 'http://127.0.0.1:1'}\n"
    )
    found = {route["name"]: route for route in json.loads(run("routes", "sockets.yaml", "--json").output)}
    assert len({json.dumps(found[name]["conditions"]) for name in ("shut", "live", "open")}) == 3
    assert found["open"]["conditions"] == []


SPLIT = (
    "services:\n"
    "  v1: {endpoints: ['http://127.0.0.1:1'], policies: [request_id]}\n"
    "  v2: {endpoints: ['http://127.0.0.1:2']}\n"
    "routes:\n"
    "  - {path: /a, split: {services: {v1: 3, v2: 1}, sticky: {client: true}, choose: {cookie: v}}}\n"
    "  - {path: /b, split: {services: {v1: 1, v2: 0}}}\n"
)


def test_a_split_tells_its_shares_and_what_decides(run: Any, folder: Path) -> None:
    (folder / "split.yaml").write_text(SPLIT)
    told = run("routes", "split.yaml").output
    assert "v1 75%, v2 25% (named by cookie v, else sticky by client address)" in told
    assert "v1 100%, v2 0% (by chance)" in told
    found = {route["name"]: route for route in json.loads(run("routes", "split.yaml", "--json").output)}
    assert found["/a"]["split"] == {
        "services": [
            {"name": "v1", "weight": 3, "endpoints": [{"url": "http://127.0.0.1:1", "weight": 1}]},
            {"name": "v2", "weight": 1, "endpoints": [{"url": "http://127.0.0.1:2", "weight": 1}]},
        ],
        "choose": "cookie v",
        "sticky": "client address",
    }
    assert (found["/a"]["service"], found["/a"]["policies"]) == (None, {})


def test_a_check_tells_the_splits_of_a_file(run: Any, folder: Path) -> None:
    (folder / "split.yaml").write_text(SPLIT)
    assert "  route /b: v1 100%, v2 0% (by chance)\n" in run("check", "split.yaml").output
    assert json.loads(run("check", "split.yaml", "--json").output)["splits"] == ["/a", "/b"]
