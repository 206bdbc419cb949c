"""What is called shadowed is never found by the router, whatever is asked; the plain cases are found."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.build.snapshot import build_snapshot
from propylon.config.load import validate
from propylon.config.shadow import shadowed
from propylon.http.forwarded import Origin
from propylon.routing.router import RouteMatch


def config(*routes: dict[str, Any]) -> Any:
    listen = [{"address": f"127.0.0.1:{port}", "name": name} for port, name in ((1, "one"), (2, "two"))]
    given = [{"respond": "ok"} if "redirect" not in each else {} for each in routes]
    named = [default | {"name": f"r{number}"} for number, default in enumerate(given)]
    return validate({"listen": listen, "routes": [mine | each for mine, each in zip(named, routes, strict=True)]})


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        ({"path": "/a"}, {"path": "/a"}),
        ({"path": "/a/{x}"}, {"path": "/a/{y}"}),
        ({"path": "/*", "priority": 1}, {"path": "/a/{x}", "methods": ["GET"]}),
        ({"path": "/a/*", "priority": 1}, {"path": ["/a", "/a/b/*"]}),
        ({"path": "/a", "methods": ["GET", "POST"]}, {"path": "/a", "methods": ["HEAD"]}),
        ({"path": "/a", "headers": {"x-a": "1"}}, {"path": "/a", "headers": {"X-A": "1"}}),
        ({"path": "/a", "headers": {"x-a": "*"}}, {"path": "/a", "headers": {"x-a": "1"}}),
        ({"path": "/a", "clients": ["10.0.0.0/8"]}, {"path": "/a", "clients": ["10.1.0.0/16"]}),
        ({"path": "/*", "host": "*.a.test", "priority": 1}, {"path": "/a", "host": ["b.a.test", "*.c.a.test"]}),
        ({"path_regex": "/a[0-9]"}, {"path_regex": "/a[0-9]"}),
        ({"path": "/*", "priority": 1}, {"path_regex": "/a[0-9]"}),
        ({"path": "/a", "scheme": "http"}, {"path": "/a", "scheme": "http"}),
        ({"path": "/a", "listeners": "one"}, {"path": "/a", "listeners": "one"}),
        ({"path": "/*", "priority": 1, "listeners": ["one", "two"]}, {"path": "/a", "listeners": "one"}),
        ({"path": "/a", "redirect": "https://docs.test/"}, {"path": "/a", "respond": "x"}),
        ({"path": "/a", "redirect": {"path": "/b"}}, {"path": "/a", "respond": "x"}),
        ({"path": "/a", "redirect": {"path": "/{{b}}"}}, {"path": "/a", "respond": "x"}),
        ({"path": "/a/{x}", "redirect": {"path": "/b/{x}"}}, {"path": "/a/{x}", "respond": "x"}),
        ({"path": "/*", "redirect": {"https": True}, "priority": 1}, {"path": "/a", "respond": "x", "scheme": "http"}),
        ({"path": "/a", "host": "b.test", "redirect": {"host": "a.test"}}, {"path": "/a", "host": "b.test"}),
        ({"path_regex": "/a[0-9]", "redirect": {"path": "/b"}}, {"path_regex": "/a[0-9]"}),
    ],
)
def test_a_route_that_never_matches_is_found(winner: dict[str, Any], loser: dict[str, Any]) -> None:
    assert shadowed(config(winner, loser).routes) == {1: 0}
    if "priority" in winner:
        assert shadowed(config(loser, winner).routes) == {0: 1}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"path": "/a/*"}, {"path": "/a/b"}),
        ({"path": "/a"}, {"path": "/a", "methods": ["GET"]}),
        ({"path": "/a", "methods": ["GET"]}, {"path": "/a"}),
        ({"path": "/a", "host": "a.test"}, {"path": "/a"}),
        ({"path": ["/a", "/b/*"]}, {"path": ["/a", "/b/c"]}),
        ({"path": "/a/{x}", "priority": 1}, {"path": "/a/*"}),
        ({"path": "/a/{x}", "priority": 1}, {"path": "/a/"}),
        ({"path": "/*", "priority": 1, "clients": ["10.0.0.0/8"]}, {"path": "/a"}),
        ({"path": "/a", "websocket": "only"}, {"path": "/a"}),
        ({"path": "/a", "scheme": "http"}, {"path": "/a", "scheme": "https"}),
        ({"path": "/a", "scheme": "http"}, {"path": "/a"}),
        ({"path": "/a"}, {"path": "/a", "scheme": "http"}),
        ({"path": "/a", "listeners": "one"}, {"path": "/a", "listeners": "two"}),
        ({"path": "/a", "listeners": "one"}, {"path": "/a", "listeners": ["one", "two"]}),
        ({"path": "/*", "priority": 1, "listeners": "one"}, {"path": "/a"}),
        ({"path": "/*", "redirect": {"https": True}}, {"path": "/*"}),
        ({"path": "/*", "redirect": {"https": True}}, {"path": "/*", "scheme": "https"}),
        ({"path": "/*", "redirect": {"host": "a.test:8080"}}, {"path": "/*"}),
        ({"path": "/*", "host": "*.test", "redirect": {"host": "a.test"}}, {"path": "/*", "host": "*.test"}),
        ({"path": "/*", "redirect": {"path": "/a/b"}}, {"path": "/*"}),
        ({"path": "/a/{x}", "redirect": {"path": "/a/b"}}, {"path": "/a/{y}"}),
        ({"path_regex": "/a[0-9]", "redirect": {"path": "/a1"}}, {"path_regex": "/a[0-9]"}),
        ({"path": "/*", "redirect": "https://a.test/a"}, {"path": "/*"}),
    ],
)
def test_a_route_that_still_matches_is_not(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert shadowed(config(first, second).routes) == {}


PATHS = st.lists(st.sampled_from(["/a", "/a/", "/a/*", "/{x}", "/{x}/b", "/a/b", "/*", "/"]), min_size=1, max_size=2)
ROUTES = st.fixed_dictionaries(
    {"path": PATHS},
    optional={
        "methods": st.sampled_from([["GET"], ["GET", "POST"], ["HEAD"]]),
        "host": st.lists(st.sampled_from(["a.test", "*.test", "*", "a.test:81", "b.a.test"]), min_size=1, max_size=2),
        "headers": st.sampled_from([{"x-a": "*"}, {"x-a": "1"}]),
        "clients": st.sampled_from([["10.0.0.0/8"], ["10.1.0.0/16"]]),
        "websocket": st.just("only"),
        "scheme": st.sampled_from(["http", "https"]),
        "listeners": st.sampled_from(["one", "two", ["one", "two"]]),
        "redirect": st.sampled_from(
            [{"https": True}, {"host": "a.test"}, {"path": "/a/b"}, {"path": "/{request.host}"}, "https://a.test/c"]
        ),
        "priority": st.sampled_from([0, 1]),
    },
).filter(lambda each: each.get("redirect") != {"https": True} or each.get("scheme") != "https")


class Asked:
    path: bytes
    origin: Origin
    listener: str

    def __init__(self, client: bytes, header: bytes | None, websocket: bool) -> None:
        self.query = None
        self.client_address, self.is_websocket, self._header = client, websocket, header

    def header(self, name: bytes) -> bytes | None:
        return self._header


@given(st.lists(ROUTES, min_size=2, max_size=4))
def test_the_router_agrees(routes: list[dict[str, Any]]) -> None:
    made = config(*routes)
    useless = {made.routes[number].name for number in shadowed(made.routes)}
    if not useless:
        return
    router = build_snapshot(made).router
    asked = [Asked(*each) for each in product((b"10.1.2.3", b"10.2.0.1"), (None, b"1", b"2"), (True, False))]
    hosts = [(b"a.test", None), (b"a.test", b"81"), (b"b.a.test", None), (b"c.test", None), (b"other", None)]
    paths = [b"/", b"/a", b"/a/", b"/a/b", b"/a/b/c", b"/c", b"/c/b", b"/c/"]
    ways = [(b"http", "127.0.0.1:1"), (b"https", "127.0.0.1:2")]
    for (host, port), path, method, request, way in product(hosts, paths, (b"GET", b"HEAD", b"POST"), asked, ways):
        request.path, (scheme, request.listener) = path, way
        request.origin = Origin(request.client_address, scheme, host if port is None else b"%b:%b" % (host, port), b"")
        found = router.find(host, port, path, method, request)
        assert not (isinstance(found, RouteMatch) and found.route.name in useless)
