"""The router: who wins, 404 or 405, and that thousands of routes cost what one costs (security cases 28, 50)."""

from __future__ import annotations

import re
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon.routing.router import NotFound, Regex, RouteMatch, Router, Rule, RuleError, WrongMethod, captures


class Ask:
    """A request as the router sees it."""

    def __init__(
        self, headers: dict[bytes, bytes] | None = None, query: bytes | None = None, client: bytes = b"10.1.2.3"
    ) -> None:
        self.headers = headers or {}
        self.query = query
        self.client_address = client
        self.is_websocket = False

    def header(self, name: bytes) -> bytes | None:
        return self.headers.get(name)


PLAIN = Ask()


def ask(
    router: Router[str], path: bytes, method: bytes = b"GET", host: bytes = b"h", request: Ask = PLAIN
) -> str | int | tuple[bytes, ...]:
    """Return the route, 404, or the methods of a 405. The host may have a port."""
    name, _, port = host.partition(b":")
    found = router.find(name, port or None, path, method, request)
    if isinstance(found, RouteMatch):
        return found.route
    return found.allow if isinstance(found, WrongMethod) else 404


def paths(*patterns: str) -> Router[str]:
    """Return a router whose routes are named as their path."""
    return Router([Rule(route=pattern, paths=[pattern]) for pattern in patterns])


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/x", b"/x", True),
        ("/x", b"/x/", False),
        ("/x", b"/X", False),
        ("/x", b"/x/y", False),
        ("/x/", b"/x/", True),
        ("/x/", b"/x", False),
        ("/", b"/", True),
        ("/", b"/a", False),
        ("/*", b"/", True),
        ("/*", b"/a/b/c", True),
        ("/*", b"*", False),
        ("/a/*", b"/a", True),
        ("/a/*", b"/a/", True),
        ("/a/*", b"/a/b/c/", True),
        ("/a/*", b"/ab", False),
        ("/a/*", b"/A/b", False),
        ("/users/{id}", b"/users/5", True),
        ("/users/{id}", b"/users/", False),
        ("/users/{id}", b"/users", False),
        ("/users/{id}", b"/users/5/x", False),
        ("/users/{id}", b"/users/5/", False),
        ("/users/{id}/posts", b"/users/5/posts", True),
        ("/users/{id}/*", b"/users/5", True),
        ("/users/{id}/*", b"/users/", False),
        ("/caf\u00e9", b"/caf%C3%A9", True),
    ],
)
def test_what_a_path_pattern_matches(pattern: str, path: bytes, matches: bool) -> None:
    assert ask(paths(pattern), path) == (pattern if matches else 404)


def test_parameters_and_rest_stay_escaped() -> None:
    router = Router([Rule(route="r", paths=["/{a}/x/{b}/*"])])
    found = router.find(b"h", None, b"/1/x/%25/p/q%20", b"GET", PLAIN)
    assert isinstance(found, RouteMatch)
    assert (found.params, found.rest) == ({"a": b"1", "b": b"%25"}, b"p/q%20")
    again = [router.find(b"h", None, b"/1/x/%25/p/q%20", b"GET", PLAIN) for _ in range(2)]
    assert again[0] is again[1], "what is asked for twice is remembered"


def test_named_groups_of_a_regex_are_parameters() -> None:
    router = Router([Rule(route="r", path_regex=r"^/v(?P<major>\d+)(?:-(?P<minor>\d+))?/.*$")])
    found = router.find(b"h", None, b"/v12/users", b"GET", PLAIN)
    assert isinstance(found, RouteMatch)
    assert found.params == {"major": b"12", "minor": b""}
    assert ask(router, b"/v12") == 404


@pytest.mark.parametrize(
    ("path", "winner"),
    [
        (b"/a/b", "/a/b"),
        (b"/a/c", "/a/{x}"),
        (b"/a/c/d", "/a/{x}/d"),
        (b"/a/c/e", "/a/*"),
        (b"/a", "/a/*"),
        (b"/z/b", "/{x}/b"),
        (b"/z/c", "/*"),
        (b"/", "/*"),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_the_more_specific_path_wins_whatever_the_order(path: bytes, winner: str, backwards: bool) -> None:
    patterns = ["/*", "/{x}/b", "/a/*", "/a/{x}", "/a/{x}/d", "/a/b"]
    assert ask(paths(*(reversed(patterns) if backwards else patterns)), path) == winner


def test_a_regex_stands_between_prefixes_with_a_literal_and_the_catch_all() -> None:
    rules = [Rule(route=path, paths=[path]) for path in ("/*", "/a/*")] + [Rule(route="regex", path_regex="/[ab]/.+")]
    router = Router(rules)
    assert [ask(router, path) for path in (b"/a/1", b"/b/1", b"/c/1")] == ["/a/*", "regex", "/*"]


def test_the_more_specific_host_wins() -> None:
    hosts = ["*", "*:8080", "*.com", "*.example.com", "*.example.com:8080", "a.example.com", "a.example.com:8080"]
    router = Router([Rule(route=host, hosts=[host]) for host in hosts])
    asked = [
        b"a.example.com:8080", b"a.example.com:1", b"A.EXAMPLE.com", b"b.example.com:8080", b"c.b.example.com",
        b"example.com", b"example.org:8080", b"org",
    ]  # fmt: skip
    assert [ask(router, b"/", host=host) for host in asked] == [
        "a.example.com:8080", "a.example.com", "a.example.com", "*.example.com:8080", "*.example.com",
        "*.com", "*:8080", "*",
    ]  # fmt: skip


def test_host_beats_path_and_priority_beats_both() -> None:
    rules = [
        Rule(route="any host", paths=["/a/b"]),
        Rule(route="host", hosts=["h"], paths=["/*"]),
        Rule(route="urgent", paths=["/u/*"], priority=1),
    ]
    router = Router(rules)
    assert [ask(router, path) for path in (b"/a/b", b"/u/x")] == ["host", "urgent"]
    assert [rule.route for rule in router.table()] == ["urgent", "host", "any host"]


def test_a_path_that_a_hosts_routes_lack_is_looked_for_on_any_host() -> None:
    router = Router([Rule(route="host", hosts=["h"], paths=["/a"]), Rule(route="any", paths=["/b"])])
    assert [ask(router, path) for path in (b"/a", b"/b", b"/c")] == ["host", "any", 404]


def test_more_conditions_win_then_the_order() -> None:
    rules = [
        Rule(route="plain", order=0),
        Rule(route="second", headers={"x-env": "test"}, order=2),
        Rule(route="first", headers={"X-Env": "test"}, order=1),
        Rule(route="both", headers={"x-env": "test"}, query={"v": "2"}, order=3),
    ]
    router = Router(rules)
    env = {b"x-env": b"test"}
    asked = [PLAIN, Ask(env), Ask(env, b"v=2"), Ask({b"x-env": b"TEST"}, b"v=2")]
    assert [ask(router, b"/", request=request) for request in asked] == ["plain", "first", "both", "plain"]


@pytest.mark.parametrize(
    ("rule", "request_", "matches"),
    [
        (Rule(route="r", headers={"x": "*"}), Ask({b"x": b""}), True),
        (Rule(route="r", headers={"x": "*"}), PLAIN, False),
        (Rule(route="r", headers={"x": Regex("a.*")}), Ask({b"x": b"abc"}), True),
        (Rule(route="r", headers={"x": Regex("a")}), Ask({b"x": b"abc"}), False),
        (Rule(route="r", query={"q 1": "\u00e4"}), Ask(query=b"q+1=%C3%A4"), True),
        (Rule(route="r", query={"q": "*"}), Ask(query=b"q"), True),
        (Rule(route="r", query={"q": Regex(r"\d+")}), Ask(query=b"q=12"), True),
        (Rule(route="r", query={"q": "1"}), Ask(query=b"q=2&q=1"), False),
        (Rule(route="r", clients=["10.0.0.0/8", "2001:db8::/32"]), Ask(client=b"10.9.9.9"), True),
        (Rule(route="r", clients=["10.0.0.0/8", "2001:db8::/32"]), Ask(client=b"2001:db8::1"), True),
        (Rule(route="r", clients=["10.0.0.0/8"]), Ask(client=b"::ffff:10.0.0.1"), True),
        (Rule(route="r", clients=["10.0.0.0/8"]), Ask(client=b"11.0.0.1"), False),
        (Rule(route="r", clients=["10.0.0.1"]), Ask(client=b"10.0.0.1"), True),
        (Rule(route="r", clients=["0.0.0.0/0"]), Ask(client=b""), False),
    ],
)
def test_conditions(rule: Rule[str], request_: Ask, matches: bool) -> None:
    router = Router([rule])
    for _ in range(2):
        assert ask(router, b"/", request=request_) == ("r" if matches else 404)


def test_get_stands_for_head_and_a_wrong_method_is_told_what_would_do() -> None:
    router = Router(
        [Rule(route="r", paths=["/a"], methods=["GET", "PUT"]), Rule(route="d", paths=["/a"], methods=["DELETE"])]
    )
    assert ask(router, b"/a", b"HEAD") == "r"
    assert ask(router, b"/a", b"DELETE") == "d"
    assert ask(router, b"/a", b"POST") == (b"DELETE", b"GET", b"HEAD", b"PUT")
    assert ask(router, b"/a", b"get") == (b"DELETE", b"GET", b"HEAD", b"PUT")
    assert ask(router, b"/b", b"POST") == 404


def test_a_route_that_fails_by_more_than_its_method_adds_nothing_to_405() -> None:
    router = Router(
        [Rule(route="x", methods=["PUT"], headers={"x": "1"}), Rule(route="g", methods=["POST"], hosts=["other"])]
    )
    assert ask(router, b"/", b"DELETE") == 404
    assert ask(router, b"/", b"DELETE", request=Ask({b"x": b"1"})) == (b"PUT",)


def test_a_method_that_fails_leaves_the_request_to_a_less_specific_route() -> None:
    router = Router([Rule(route="get", paths=["/a"], methods=["GET"]), Rule(route="rest", paths=["/*"])])
    assert [ask(router, b"/a", method) for method in (b"GET", b"POST")] == ["get", "rest"]


@pytest.mark.parametrize("count", [1, 100, 101, 10_000])
def test_hosts_are_compared_without_and_paths_with_case_however_many_there_are(count: int) -> None:
    router = Router([Rule(route=str(n), hosts=[f"Host{n}.Example.COM"], paths=["/Path"]) for n in range(count)])
    last = str(count - 1)
    for host in (f"host{last}.example.com", f"HOST{last}.EXAMPLE.com"):
        assert ask(router, b"/Path", host=host.encode()) == last
        assert ask(router, b"/path", host=host.encode()) == 404


def test_thousands_of_routes_cost_the_same_as_one() -> None:
    def steps(count: int) -> int:
        """Return how many lines a first look-up takes."""
        router = Router([Rule(route=str(n), paths=[f"/svc{n}/users/{{id}}", f"/{{x}}/svc{n}/*"]) for n in range(count)])
        lines = 0

        def trace(*_: object) -> object:
            nonlocal lines
            lines += 1
            return trace

        before = sys.gettrace()
        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            assert ask(router, b"/svc0/users/5") == "0"
        finally:
            sys.settrace(before)
        return lines

    assert abs(steps(5000) - steps(1)) < 30, "what hashing adds; 5,000 rules looked at would be thousands"


def test_a_path_of_thousands_of_segments_is_walked_no_deeper_than_the_patterns() -> None:
    router = paths("/{a}/{b}/*", "/{a}/x/*", "/*")
    assert ask(router, b"/a" * 4000) == "/{a}/{b}/*"
    assert ask(router, b"/a/x" + b"/" * 1 + b"y/" * 4000) == "/{a}/x/*"


def test_the_memory_of_the_router_is_bounded() -> None:
    router = paths("/a/*")
    for number in range(10_000):
        assert ask(router, b"/a/%d" % number) == "/a/*"
        assert ask(router, b"/b/%d" % number) == 404
    assert len(router._memo) <= 4096
    router._memo.clear()
    assert ask(router, b"/a/" + b"x" * 600) == "/a/*"
    assert not router._memo


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (Rule(route="r", paths=["/a"], path_regex="/b"), "either paths or a path_regex"),
        (Rule(route="r", methods=["get"]), "write 'GET'"),
        (Rule(route="r", methods=["G ET"]), "no method"),
        (Rule(route="r", headers={"x y": "1"}), "no header name"),
        (Rule(route="r", headers={"x": Regex("(a+)+")}), "header 'x': regex .* very long"),
        (Rule(route="r", query={"q": Regex("(")}), "query parameter 'q': regex .* not a regular expression"),
        (Rule(route="r", clients=["10.0.0.1/8"]), "did you mean '10.0.0.0/8'"),
        (Rule(route="r", clients=["ten"]), "is no network"),
        (Rule(route="r", hosts=["a b"]), "host 'a b'"),
    ],
)
def test_bad_rules_are_told_in_a_sentence(rule: Rule[str], sentence: str) -> None:
    with pytest.raises(RuleError, match=sentence):
        Router([rule])


def test_captures_are_what_every_path_has() -> None:
    assert captures(Rule(route="r", paths=["/{a}/{b}/*", "/x/{b}/*"])) == (frozenset({"b"}), True)
    assert captures(Rule(route="r", paths=["/{a}", "/x/*"])) == (frozenset(), False)
    assert captures(Rule(route="r", path_regex="/(?P<x>.*)")) == (frozenset({"x"}), False)


def test_explain_says_of_every_rule_what_became_of_it() -> None:
    rules = [
        Rule(route="other host", hosts=["a.example.com", "*.b.c"]),
        Rule(route="other path", paths=["/x", "/y/*"]),
        Rule(route="method", paths=["/u/{id}"], methods=["PUT"]),
        Rule(route="header", paths=["/u/{id}"], headers={"X-Env": "secret"}),
        Rule(route="winner", paths=["/u/{id}"]),
        Rule(route="later", paths=["/u/*"]),
        Rule(route="last", paths=["/u/{id}"], order=1),
    ]
    verdicts = Router(rules).explain(b"h", b"81", b"/u/5", b"GET", PLAIN)
    told = {verdict.rule.route: (verdict.won, verdict.reason) for verdict in verdicts}
    assert told == {
        "method": (False, "method GET is not one of PUT"),
        "header": (False, "header 'X-Env' does not match"),
        "winner": (True, "host '*' and path '/u/{id}' match, and every condition holds"),
        "last": (False, "would match too, but the route that won has an earlier place"),
        "later": (False, "would match too, but the route that won has a more specific path"),
        "other path": (False, "path /u/5 does not match '/x' or '/y/*'"),
        "other host": (False, "host h:81 does not match 'a.example.com' or '*.b.c'"),
    }
    assert [verdict.rule.route for verdict in verdicts][:5] == ["method", "header", "winner", "last", "later"]


# A second, slow router that follows the documentation word by word.

_SEGMENTS = st.sampled_from(["a", "b", "{p}", "{q}"])
_PATHS = st.builds(
    lambda segments, tail: "/" + "/".join([*segments, *tail]),
    st.lists(_SEGMENTS, max_size=3, unique_by=lambda s: s if "{" in s else object()),
    st.sampled_from([[], ["*"]]),
)
_HOSTS = st.sampled_from(["*", "h.x.y", "*.x.y", "*.y", "h.x.y:1", "*.y:1", "*:1"])
_RULES = st.builds(
    lambda hosts, paths, methods, header, priority: Rule(
        route="", hosts=hosts, paths=paths, methods=methods, headers={"x": header} if header else {}, priority=priority
    ),
    st.lists(_HOSTS, max_size=2),
    st.lists(_PATHS, max_size=2),
    st.sampled_from([(), ("GET",), ("POST", "PUT")]),
    st.sampled_from(["", "*", "1"]),
    st.sampled_from([0, 0, 0, 1]),
)
_ASKED_PATHS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=4).map(lambda parts: "/" + "/".join(parts))
_ASKED_HOSTS = st.sampled_from(["h.x.y", "i.x.y", "x.y", "y", "h.x.y:1", "z:1"])
_ASKED_METHODS = st.sampled_from(["GET", "HEAD", "POST", "DELETE"])


def naive_host(pattern: str, host: str) -> bool:
    """Does a host with or without a port match?"""
    wanted, _, wanted_port = pattern.partition(":")
    name, _, port = host.partition(":")
    if wanted_port and wanted_port != port:
        return False
    return wanted in ("*", name) or (wanted[0] == "*" and name.endswith(wanted[1:]))


def naive_path(pattern: str, path: str) -> bool:
    """Does a path match, by way of a regular expression?"""
    text = re.sub(r"\{.\}", "[^/]+", pattern.removesuffix("/*"))
    return re.fullmatch(text + ("(/.*)?" if pattern.endswith("/*") else ""), path) is not None


def naive_key(rule: Rule[str], host: str, path: str, place: int) -> tuple[object, ...]:
    """Return what sorts a match by the documented precedence."""
    name, _, port = host.partition(":")
    labels = 0 if name == "*" else -len(name.split(".")) if name[0] == "*" else -100
    kinds = ["*{".find(segment[:1]) for segment in path[1:].split("/")] if path != "/" else [-1]
    order = {-1: 0, 1: 1, 0: 3}
    return (
        -rule.priority,
        labels,
        not port,
        [order[kind] for kind in kinds],
        -len(rule.headers) - bool(rule.methods),
        place,
    )


def naive_find(rules: list[Rule[str]], host: str, path: str, method: str, header: str) -> str | int | tuple[bytes, ...]:
    """Try every rule, in the documented order."""
    matches = sorted(
        (naive_key(rule, h, p, place), rule.route, place)
        for place, rule in enumerate(rules)
        for h in rule.hosts or ["*"]
        for p in rule.paths or ["/*"]
        if naive_host(h, host) and naive_path(p, path)
        and all(header == value or (value == "*" and header) for value in rule.headers.values())
    )  # fmt: skip
    allow: set[str] = set()
    for _, route, place in matches:
        methods = {*rules[place].methods, *(["HEAD"] if "GET" in rules[place].methods else [])}
        if not methods or method in methods:
            return route
        allow |= methods
    return tuple(sorted(name.encode() for name in allow)) or 404


@given(
    st.lists(_RULES, max_size=8),
    st.lists(st.tuples(_ASKED_HOSTS, _ASKED_PATHS, _ASKED_METHODS, st.sampled_from(["", "1", "2"])), max_size=12),
)
@settings(max_examples=300, deadline=None)
def test_the_router_agrees_with_a_naive_one_and_remembering_changes_nothing(
    rules: list[Rule[str]], asked: list[tuple[str, str, str, str]]
) -> None:
    named = [
        Rule(route=str(n), hosts=r.hosts, paths=r.paths, methods=r.methods, headers=r.headers, priority=r.priority)
        for n, r in enumerate(rules)
    ]
    remembering = Router(named)
    for host, path, method, header in [*asked, *asked]:
        request = Ask({b"x": header.encode()} if header else {})
        wanted = naive_find(named, host, path, method, header)
        assert ask(remembering, path.encode(), method.encode(), host.encode(), request) == wanted
        assert ask(Router(named), path.encode(), method.encode(), host.encode(), request) == wanted
        name, _, port = host.partition(":")
        verdicts = remembering.explain(name.encode(), port.encode() or None, path.encode(), method.encode(), request)
        assert [verdict.rule.route for verdict in verdicts if verdict.won] == (
            [wanted] if isinstance(wanted, str) else []
        )
        assert sorted(verdict.rule.route for verdict in verdicts) == sorted(rule.route for rule in named)


def test_the_table_is_in_matching_order() -> None:
    router = paths("/*", "/a/{x}", "/a/b", "/a/*")
    assert [rule.route for rule in router.table()] == ["/a/b", "/a/{x}", "/a/*", "/*"]
    assert all(first is not second for first, second in pairwise(router.table()))
    assert isinstance(Router[str]([]).find(b"h", None, b"/", b"GET", PLAIN), NotFound)
