"""A decoded body: as fast as it is taken, whole, and with one end."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from propylon.engine.body import Body
from propylon.engine.content import REQUEST, RESPONSE
from propylon.engine.decoded_body import DecodedBody
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.http.content_coding import ContentDecoder
from tests.support.fakes import FakeUpstream, exchange

TEXT = b"".join(b"%d, " % number for number in range(200_000))


class Slow:
    """A sink that takes a piece at a time."""

    def __init__(self) -> None:
        self.source: Any = None
        self.data = b""
        self.ends = 0

    def write_body(self, data: bytes) -> None:
        self.data += data
        self.source.hold(self)

    def end_body(self, trailers: list[tuple[bytes, bytes]]) -> None:
        self.ends += 1


async def _waiting(x: Exchange, errors: list[GatewayError]) -> None:
    try:
        while True:
            await x.pause()
    except GatewayError as error:
        errors.append(error)


class Decoded:
    def __init__(self, reading: Any = REQUEST) -> None:
        self.x = exchange(method=b"POST")
        self.errors: list[GatewayError] = []
        self.x.start(_waiting(self.x, self.errors))
        self.source = FakeUpstream()
        self.encoded = Body(self.source)
        self.sink = Slow()
        self.sink.source = DecodedBody(self.x, reading, self.encoded, ContentDecoder(["gzip"]))
        self.sink.source.body.pipe(self.sink)


@pytest.mark.parametrize("reading", [REQUEST, RESPONSE])
def test_nothing_is_decoded_while_the_receiver_is_busy(reading: Any) -> None:
    decoded = Decoded(reading)
    decoded.encoded.feed(gzip.compress(TEXT))
    decoded.encoded.end([])
    rounds = 0
    while not decoded.sink.ends:
        assert decoded.source.holds
        before = len(decoded.sink.data)
        decoded.sink.source.release(decoded.sink)
        assert len(decoded.sink.data) <= before + 65536
        rounds += 1
    assert decoded.sink.data == TEXT
    assert (decoded.sink.ends, decoded.source.holds) == (1, set())
    assert rounds >= len(TEXT) // 65536


def test_who_held_the_source_before_may_release_it_here() -> None:
    decoded = Decoded()
    owner = object()
    decoded.source.hold(owner)
    decoded.sink.source.release(owner)
    assert not decoded.source.holds


def test_a_body_that_is_cut_off_fails_once_all_of_it_is_taken() -> None:
    decoded = Decoded()
    decoded.encoded.feed(gzip.compress(TEXT[:100])[:-4])
    decoded.encoded.end([])
    assert not decoded.errors
    decoded.sink.source.release(decoded.sink)
    assert ([error.code for error in decoded.errors], decoded.sink.ends) == (["request.undecodable"], 0)


def test_nothing_is_decoded_behind_the_end_of_the_exchange() -> None:
    decoded = Decoded()
    decoded.encoded.feed(gzip.compress(TEXT))
    before = len(decoded.sink.data)
    decoded.x.settle()
    decoded.sink.source.release(decoded.sink)
    decoded.encoded.feed(b"no gzip")
    assert len(decoded.sink.data) == before
