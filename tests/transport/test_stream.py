"""A transport behind a 101, as a byte stream."""

from __future__ import annotations

from typing import Any, cast

from propylon.transport.stream import TransportStream
from tests.support.fakes import FakeTransport


class Owner:
    """The connection that had the transport."""

    def __init__(self) -> None:
        self.lost: list[Exception | None] = []

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.append(error)


def made(transport: FakeTransport, owner: Owner, early: bytes = b"") -> TransportStream:
    return TransportStream(cast("Any", transport), cast("Any", owner), early, stalled=False, ended=False)


def test_what_has_arrived_before_is_handed_over_once_and_the_rest_goes_to_the_end() -> None:
    transport, end = FakeTransport(), cast("Any", object())
    transport.pause_reading()
    stream = made(transport, Owner(), b"early")
    assert stream.attach(end, 500) == b"early"
    assert (transport.protocol, transport.high, transport.reading) == (end, 500, True)
    assert stream.attach(end, None) == b""
    assert transport.high == 500


def test_it_reads_and_writes_as_it_is_told() -> None:
    transport = FakeTransport()
    stream = made(transport, Owner())
    stream.write(b"abc")
    assert transport.take() == b"abc"
    stream.pause_reading()
    assert not transport.reading
    stream.resume_reading()
    assert transport.reading
    transport.full = True
    stream.write(b"abcd")
    assert stream.unsent() == 4
    assert stream.can_half_close()
    stream.half_close()
    assert transport.eof
    stream.close()
    assert transport.closing
    stream.abort()
    assert transport.aborted


def test_who_had_the_transport_is_told_of_its_end() -> None:
    owner, error = Owner(), OSError()
    made(FakeTransport(), owner).lost(error)
    assert owner.lost == [error]
