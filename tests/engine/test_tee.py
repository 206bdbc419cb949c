"""Copies of requests with their bodies: whole, or none; and whoever reads the body gets it all the same."""

from __future__ import annotations

from typing import Any

import pytest

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.subrequest import Subrequest
from propylon.engine.tee import copy_request
from tests.support.fakes import exchange


class Feed:
    """The source of a body, and what reads it."""

    def __init__(self, length: int = -1) -> None:
        self.body = Body(self, length)
        self.read = b""

    def hold(self, owner: object) -> None:
        pass

    release = hold

    def body_wanted(self) -> None:
        pass

    def write_body(self, data: bytes) -> None:
        self.read += data

    def end_body(self, trailers: Any) -> None:
        pass


def copied(body: bytes | Body | None, limit: int = 10) -> tuple[Any, list[Subrequest | None]]:
    x, ready = exchange(method=b"POST"), []
    x.body = body
    copy_request(x, limit, ready.append)
    return x, ready


@pytest.mark.parametrize("body", [None, b"", b"0123456789"])
def test_a_body_that_is_there_is_copied_at_once(body: bytes | None) -> None:
    _, (own,) = copied(body)
    assert own is not None
    assert own.exchange.body == body


def test_a_body_under_way_is_copied_when_it_has_ended() -> None:
    feed = Feed()
    feed.body.feed(b"one ")
    _, ready = copied(feed.body)
    feed.body.pipe(feed)
    feed.body.feed(b"two")
    assert ready == []
    feed.body.end([])
    (own,) = ready
    assert own is not None
    assert own.exchange.body == feed.read == b"one two"


def test_a_body_that_has_come_in_pieces_and_ended_is_copied_at_once() -> None:
    feed = Feed()
    feed.body.feed(b"one ")
    feed.body.feed(b"two")
    feed.body.end([])
    _, (own,) = copied(feed.body)
    assert own is not None
    assert own.exchange.body == b"one two"


@pytest.mark.parametrize("length", [11, -1])
def test_one_that_is_too_large_is_not_copied_and_told_once(length: int) -> None:
    feed = Feed(length)
    _, ready = copied(feed.body)
    feed.body.pipe(feed)
    for _ in range(11):
        feed.body.feed(b"x")
    feed.body.end([])
    assert ready == [None]
    assert feed.read == b"x" * 11
    assert copied(b"x" * 11)[1] == [None]


def test_one_that_never_ends_is_told_when_the_exchange_does() -> None:
    feed = Feed()
    x, ready = copied(feed.body)
    feed.body.feed(b"half")
    assert ready == []
    x.settle()
    assert ready == [None]
    assert feed.body._taps == ()


def test_one_that_fails_on_its_way_is_told() -> None:
    feed = Feed()
    _, ready = copied(feed.body)
    feed.body.feed(b"half")
    feed.body.fail(GatewayError("relay.client_gone"))
    assert ready == [None]
