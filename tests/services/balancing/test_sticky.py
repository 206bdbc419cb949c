"""Sticky: a client stays where it is, by a cookie that tells nothing and cannot be made up."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from propylon.engine.exchange import Exchange
from propylon.http.response_head import ResponseHead
from propylon.services.balancing.sticky import Config
from tests.services.balancing.world import World
from tests.support.fakes import FakeClient, exchange

SECRET = "a secret of enough characters"
LINE = re.compile(rb"set-cookie: ([^=]+)=([0-9a-f]{32}); Path=/; HttpOnly; SameSite=Lax\r\n")


class Browser:
    """Keeps its cookie."""

    def __init__(self) -> None:
        self.cookie = b""
        self.told = 0

    def ask(self, balancer: Any, avoid: Any = ()) -> Any:
        x = with_cookie(self.cookie)
        endpoint = balancer.pick(x, avoid)
        line = balancer.fields(x, endpoint)
        if line:
            self.told += 1
            self.cookie = line.removeprefix(b"set-cookie: ").partition(b";")[0]
        return endpoint


def with_cookie(cookie: bytes) -> Exchange:
    return exchange(fields=b"cookie: a=1; %b\r\n" % cookie if cookie else b"")


def made(settings: dict[str, Any] | None = None, count: int = 5) -> tuple[Any, Any]:
    world = World()
    endpoints = world.endpoints(*[1] * count)
    return world.balancer("sticky", endpoints, settings), endpoints


def test_a_client_stays_and_is_told_once() -> None:
    balancer, _ = made()
    browser = Browser()
    assert len({browser.ask(balancer) for _ in range(50)}) == 1
    assert browser.told == 1


def test_clients_are_spread() -> None:
    balancer, endpoints = made()
    assert {Browser().ask(balancer) for _ in range(100)} == set(endpoints)


def test_a_client_moves_when_its_endpoint_goes_and_stays_there() -> None:
    balancer, endpoints = made()
    browser = Browser()
    first = browser.ask(balancer)
    balancer.update([endpoint for endpoint in endpoints if endpoint is not first])
    second = browser.ask(balancer)
    assert second is not first
    balancer.update(endpoints)
    assert {browser.ask(balancer) for _ in range(50)} == {second}
    assert browser.told == 2


def test_a_client_moves_when_its_endpoint_is_to_be_avoided() -> None:
    balancer, _ = made()
    browser = Browser()
    first = browser.ask(balancer)
    second = browser.ask(balancer, [first])
    assert second is not first
    assert browser.ask(balancer) is second


@pytest.mark.parametrize(
    "value",
    [b"", b"0" * 32, b"http://10.0.0.1:80", b"\xff\x00", b"a" * 5000],
    ids=["empty", "zeros", "url", "bytes", "long"],
)
def test_a_cookie_that_was_made_up_is_replaced(value: bytes) -> None:
    balancer, endpoints = made()
    x = with_cookie(b"propylon_sticky=" + value.replace(b"\x00", b""))
    endpoint = balancer.pick(x, ())
    assert endpoint in endpoints
    assert LINE.fullmatch(balancer.fields(x, endpoint))


def test_the_cookie_does_not_tell_the_address_and_depends_on_the_secret() -> None:
    codes = []
    for secret in (SECRET, SECRET, SECRET + "2", None, None):
        balancer, endpoints = made({"secret": secret} if secret else None)
        line = LINE.fullmatch(balancer.fields(exchange(), endpoints[0]))
        assert line is not None
        codes.append(line[2])
    assert codes[0] == codes[1]  # the same after a restart, and in other workers
    assert len(set(codes)) == 4


def test_the_cookie_is_a_known_function_of_secret_and_url() -> None:
    """Gateways of different versions stand side by side during an update."""
    balancer, endpoints = made({"secret": SECRET})
    assert b"=fc9ee02260d4bb006ea3a8ee78df5aa5;" in balancer.fields(exchange(), endpoints[0])


def test_the_attributes_are_as_configured() -> None:
    settings = {"cookie": "stay", "path": "/shop", "max_age": "1h", "secure": True, "same_site": "none"}
    balancer, endpoints = made(settings)
    line = balancer.fields(exchange(), endpoints[0])
    assert re.fullmatch(
        rb"set-cookie: stay=[0-9a-f]{32}; Max-Age=3600; Path=/shop; HttpOnly; SameSite=None; Secure\r\n", line
    )


@pytest.mark.parametrize(("scheme", "secure"), [(b"https", True), (b"http", False)])
def test_the_cookie_is_secure_where_the_request_was(scheme: bytes, secure: bool) -> None:
    class Client(FakeClient):
        def origin(self, x: Exchange) -> Any:
            found = super().origin(x)
            found.scheme = scheme
            return found

    balancer, endpoints = made()
    assert balancer.fields(exchange(client=Client()), endpoints[0]).endswith(b"; Secure\r\n") is secure
    balancer, endpoints = made({"secure": False})
    assert b"Secure" not in balancer.fields(exchange(client=Client()), endpoints[0])


# sessions that the service names


def with_session(session: bytes | None) -> Exchange:
    return exchange(fields=b"mcp-session-id: %b\r\n" % session if session is not None else b"")


def answered(session: bytes, status: int = 200) -> ResponseHead:
    return ResponseHead.of(status, [(b"Mcp-Session-Id", session)])


def test_a_session_belongs_to_the_endpoint_that_named_it() -> None:
    balancer, endpoints = made({"header": "Mcp-Session-Id"})
    for number, endpoint in enumerate(endpoints):
        x = with_session(None)
        balancer.learn(x, endpoint, answered(b"%d" % number))
        assert balancer.fields(x, endpoint) == b""
    for number, endpoint in enumerate(endpoints):
        x = with_session(b"%d" % number)
        assert balancer.holds(x)
        assert {balancer.pick(x, ()) for _ in range(10)} == {endpoint}
        assert endpoint not in {balancer.pick(x, [endpoint]) for _ in range(10)}


@pytest.mark.parametrize("session", [None, b"", b"unknown"])
def test_who_has_no_session_is_spread(session: bytes | None) -> None:
    balancer, endpoints = made({"header": "mcp-session-id"})
    x = with_session(session)
    assert not balancer.holds(x)
    assert {balancer.pick(x, ()) for _ in range(100)} == set(endpoints)


@pytest.mark.parametrize(("status", "moves"), [(200, True), (399, True), (404, False), (500, False)])
def test_a_session_moves_with_a_success_only(status: int, moves: bool) -> None:
    balancer, (one, other, *_) = made({"header": "mcp-session-id"})
    balancer.learn(with_session(None), one, answered(b"7"))
    balancer.learn(with_session(b"7"), other, answered(b"7", status))
    assert balancer.pick(with_session(b"7"), ()) is (other if moves else one)


def test_a_response_without_the_header_changes_nothing() -> None:
    balancer, (one, other, *_) = made({"header": "mcp-session-id"})
    balancer.learn(with_session(None), one, answered(b"7"))
    balancer.learn(with_session(b"7"), other, ResponseHead.of(200, []))
    assert balancer.pick(with_session(b"7"), ()) is one


def test_a_session_whose_endpoint_is_away_is_spread_and_finds_back() -> None:
    balancer, endpoints = made({"header": "mcp-session-id"})
    balancer.learn(with_session(None), endpoints[0], answered(b"7"))
    balancer.update(endpoints[1:])
    assert not balancer.holds(with_session(b"7"))
    assert endpoints[0] not in {balancer.pick(with_session(b"7"), ()) for _ in range(20)}
    balancer.update(endpoints)
    assert balancer.pick(with_session(b"7"), ()) is endpoints[0]


def test_a_session_is_forgotten_after_its_idle_time() -> None:
    world = World()
    endpoints = world.endpoints(*[1] * 5)
    balancer: Any = world.balancer("sticky", endpoints, {"header": "mcp-session-id", "idle": "1h"})
    balancer.learn(with_session(None), endpoints[0], answered(b"7"))
    world.now += 3599
    assert balancer.holds(with_session(b"7"))
    world.now += 3600
    assert not balancer.holds(with_session(b"7"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"header": "x", "cookie": "a"}, "cookie: of no use with 'header'"),
        ({"header": "x", "secret": SECRET, "max_age": "1h"}, "max_age, secret: of no use"),
        ({"header": "x-forwarded-for"}, "not a header that clients set"),
        ({"idle": "1h"}, "'idle' is for sessions of a 'header'"),
        ({"header": "x", "idle": 0}, "idle"),
        ({"cookie": "a b"}, "not the name of a cookie"),
        ({"cookie": "a;b"}, "not the name of a cookie"),
        ({"secret": "short"}, "write 16 characters or more"),
        ({"path": "shop"}, "begins with '/'"),
        ({"path": "/a; Domain=b"}, "begins with '/'"),
        ({"path": "/a\r\nx: y"}, "begins with '/'"),
        ({"same_site": "none"}, "unless it has 'secure: true'"),
        ({"same_site": "Lax"}, "same_site"),
        ({"max_age": "500ms"}, "1s or more"),
        ({"cookie": "__Host-stay"}, "needs 'secure: true' and 'path: /'"),
        ({"cookie": "__Secure-stay"}, "needs 'secure: true'"),
        ({"cokie": "a"}, "cokie"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config.model_validate(settings)


def test_the_secret_is_not_shown() -> None:
    assert SECRET not in repr(Config(secret=SECRET))
