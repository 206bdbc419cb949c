"""How long an idle connection is trusted: as the endpoint says, or as was seen, less a margin."""

from __future__ import annotations

import pytest

from propylon.http.response_head import ResponseHead
from propylon.outbound import http1
from propylon.outbound.idle_age import IdleAge
from tests.support.endpoint_wire import LENGTH, OK, Wire
from tests.support.fakes import Clock


@pytest.mark.parametrize(("told", "safe"), [(1.0, 0.75), (2.0, 1.5), (5.0, 4.0), (75.0, 74.0), (0.0, 0.0)])
def test_the_time_of_a_keep_alive_field_less_a_margin(told: float, safe: float) -> None:
    age = IdleAge()
    age.tell(told)
    assert (age.safe, age.limit) == (safe, safe)


def test_a_second_is_assumed_and_what_is_seen_is_believed() -> None:
    age = IdleAge()
    assert age.safe == 0.75
    age.survived(20.0)
    assert age.safe == 19.0
    age.closed(30.0)  # longer than anything that was trusted
    assert age.safe == 19.0
    age.closed(2.0)
    assert age.safe == 1.5
    age.survived(1.9)
    assert age.safe == 1.5
    age.survived(4.0)  # so that close was no matter of time
    assert age.safe == 3.0


def test_an_endpoint_that_closes_before_the_time_it_tells_is_seen_too() -> None:
    age = IdleAge()
    age.tell(5.0)
    age.closed(2.0)
    age.tell(5.0)
    assert (age.safe, age.limit) == (1.5, 4.0)
    age.survived(4.0)
    assert age.safe == 3.0
    age.survived(9.0)
    assert age.safe == 3.0  # never longer than told


@pytest.mark.parametrize(
    ("value", "limit", "close"),
    [
        (b"timeout=5", 5.0, False), (b"timeout=5, max=100", 5.0, False), (b"max=3;timeout=10", 10.0, False),
        (b'Timeout="7"', 7.0, False), (b"timeout=5, max=0", 5.0, True), (b"300", None, False),
        (b"timeout=x", None, False), (b"xtimeout=4", None, False), (b"timeout=-1", None, False),
    ],
)  # fmt: skip
def test_a_keep_alive_field_is_read(value: bytes, limit: float | None, close: bool) -> None:
    head = ResponseHead(b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nkeep-alive: %b\r\n" % value)
    assert (head.idle_limit, head.reusable) == (limit, not close)
    assert head.visible == ()


def test_a_connection_tells_its_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, http1)
    wire = Wire().feed(OK + b"keep-alive: timeout=9\r\ncontent-length: 0\r\n\r\n")
    assert wire.pool.idle_age.safe == 8.0
    assert wire.kept()
    wire.connection.idle_since = clock.now
    clock.now += 4.0
    wire.eof()
    assert wire.pool.idle_age.safe == 3.0


def test_a_close_while_a_request_is_on_its_way_is_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, http1)
    wire = Wire().feed(LENGTH)
    assert wire.kept()
    wire.pool.idle_age.survived(50.0)
    wire.connection.idle_since = clock.now
    clock.now += 2.0
    wire.begin(b"POST")
    wire.connection.send(b"POST", b"a", b"/", b"", b"", b"x")
    wire.eof(ConnectionResetError())
    assert wire.code == "attempt.closed"
    assert wire.pool.idle_age.safe == 1.5
