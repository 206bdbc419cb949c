"""The TLS transport: plaintext above, records below, and everything a transport promises."""

from __future__ import annotations

import asyncio
import ssl
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon.inbound.tls import ListenerTls
from propylon.inbound.tls_failures import TlsFailures
from propylon.transport.tls_transport import STEP_BYTES, Engine, TlsTransport
from tests.support.fakes import FakeTransport
from tests.support.tls import Certificates, MemoryPeer


class Above(asyncio.Protocol):
    """The protocol that speaks over TLS: remembers what it was told."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.calls: list[str] = []
        self.stays_open = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.stays_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Line:
    """A connection whose handshake is over: a peer, the transport, and the protocol above."""

    def __init__(self, certificates: Certificates, **client: Any) -> None:
        self.listener = listener = ListenerTls(certificates.config("a"), "listener")
        self.peer = MemoryPeer(certificates.client(**client))
        engine = Engine(listener)
        while not self.peer.ready:
            engine.incoming.write(self.peer.take())
            try:
                engine.tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            self.peer.give(engine.outgoing.read())
        engine.incoming.write(self.peer.take())
        try:
            engine.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        self.peer.give(engine.outgoing.read())
        self.raw = FakeTransport()
        self.failures = TlsFailures("listener")
        self.above = Above()
        self.transport = TlsTransport(cast("Any", self.raw), engine, listener.session(engine.tls), self.failures)
        self.transport.start(self.above)

    def arrive(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.transport.data_received(piece)

    def answered(self) -> bytes:
        """What the peer reads of all that was written."""
        self.peer.give(self.raw.take())
        return self.peer.received()


@pytest.fixture
def line(certificates: Certificates) -> Line:
    return Line(certificates)


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
def test_data_goes_both_ways(certificates: Certificates, version: ssl.TLSVersion) -> None:
    line = Line(certificates, maximum_version=version)
    line.arrive(line.peer.send(b"GET / HTTP/1.1\r\n\r\n"))
    assert line.above.received == b"GET / HTTP/1.1\r\n\r\n"
    line.transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    line.transport.write(b"ab")
    line.transport.write(b"")
    assert line.answered() == b"HTTP/1.1 200 OK\r\n\r\nab"
    assert line.above.calls == ["made"]


def test_what_came_with_the_end_of_the_handshake_is_delivered_first(certificates: Certificates) -> None:
    line = Line(certificates)
    engine = Engine(line.listener)
    engine.incoming, engine.tls = line.transport._incoming, line.transport._tls
    engine.incoming.write(line.peer.send(b"early"))
    above = Above()
    TlsTransport(cast("Any", line.raw), engine, line.transport._session, line.failures).start(above)
    assert above.received == b"early"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.binary(min_size=1, max_size=40_000), max_size=4), st.lists(st.integers(0, 90_000), max_size=6))
def test_any_cut_of_the_records_gives_the_same_plaintext(
    certificates: Certificates, messages: list[bytes], cuts: list[int]
) -> None:
    line = Line(certificates)
    stream = b"".join(line.peer.send(message) for message in messages)
    edges = [0, *sorted(cut for cut in set(cuts) if cut < len(stream)), len(stream)]
    line.arrive(*[stream[start:stop] for start, stop in pairwise(edges)])
    assert bytes(line.above.received) == b"".join(messages)


def test_many_records_in_one_read_are_one_delivery(line: Line) -> None:
    delivered: list[int] = []
    line.above.data_received = lambda data: delivered.append(len(data))  # type: ignore[method-assign]
    line.arrive(line.peer.send(b"x" * 200_000))
    assert delivered == [200_000]


def test_while_reading_is_paused_nothing_is_delivered(line: Line) -> None:
    line.transport.pause_reading()
    assert not line.raw.reading
    assert not line.transport.is_reading()
    line.arrive(line.peer.send(b"later"))
    assert line.above.received == b""


async def test_what_came_while_paused_is_delivered_when_reading_goes_on(line: Line) -> None:
    line.transport.pause_reading()
    line.arrive(line.peer.send(b"later"))
    line.transport.resume_reading()
    assert line.raw.reading
    assert line.above.received == b"", "not inside of resume_reading: its caller is not ready"
    await asyncio.sleep(0)
    assert line.above.received == b"later"
    assert line.transport.is_reading()


async def test_paused_again_before_the_turn_nothing_is_delivered(line: Line) -> None:
    line.transport.pause_reading()
    line.arrive(line.peer.send(b"later"))
    line.transport.resume_reading()
    line.transport.pause_reading()
    await asyncio.sleep(0)
    assert line.above.received == b""


# writing more than the socket takes


def test_a_full_socket_pauses_the_protocol_and_an_empty_one_resumes_it(line: Line) -> None:
    line.transport.pause_writing()
    line.transport.pause_writing()
    line.transport.resume_writing()
    assert line.above.calls == ["made", "pause", "resume"]


async def test_a_large_write_leaves_in_steps(line: Line) -> None:
    data = bytes(range(256)) * 4096  # four steps
    line.transport.write(data)
    line.transport.write(b"end")
    assert line.transport.get_write_buffer_size() == 3 * STEP_BYTES + 3
    assert line.above.calls == ["made", "pause"]
    found = line.answered()
    assert len(found) == STEP_BYTES
    for _ in range(4):
        await asyncio.sleep(0)
        found += line.answered()
    assert found == data + b"end"
    assert line.above.calls == ["made", "pause", "resume"]
    assert line.transport.get_write_buffer_size() == 0


async def test_while_the_socket_is_full_nothing_more_is_encrypted(line: Line) -> None:
    line.transport.pause_writing()
    line.transport.write(bytes(2 * STEP_BYTES))
    await asyncio.sleep(0)
    assert line.raw.written == b""
    line.transport.resume_writing()
    assert len(line.answered()) == STEP_BYTES
    line.transport.pause_writing()
    await asyncio.sleep(0)
    assert line.raw.written == b""
    assert line.above.calls == ["made", "pause"]
    line.transport.resume_writing()
    assert len(line.answered()) == STEP_BYTES
    assert line.above.calls == ["made", "pause", "resume"]


def test_the_limits_are_those_of_the_socket(line: Line) -> None:
    limits: list[tuple[int | None, int | None]] = []
    line.raw.set_write_buffer_limits = lambda high, low: limits.append((high, low))  # type: ignore[attr-defined]
    line.transport.set_write_buffer_limits(10, 5)
    assert limits == [(10, 5)]


# ends


def test_close_says_close_notify(line: Line) -> None:
    line.transport.write(b"last")
    line.transport.close()
    line.transport.close()
    assert line.answered() == b"last"
    assert line.peer.ended()
    assert line.raw.closing
    assert line.transport.is_closing()
    line.transport.write(b"more")
    assert line.raw.take() == b""


async def test_close_waits_for_what_was_written(line: Line) -> None:
    line.transport.write(bytes(2 * STEP_BYTES))
    line.transport.close()
    line.transport.write(b"too late")
    assert not line.raw.closing
    await asyncio.sleep(0)
    assert line.raw.closing
    assert line.answered() == bytes(2 * STEP_BYTES)
    assert line.peer.ended()


def test_half_a_close_says_close_notify_and_still_reads(line: Line) -> None:
    assert line.transport.can_write_eof()
    line.transport.write_eof()
    line.transport.write_eof()
    assert line.raw.eof
    assert not line.raw.closing
    line.peer.give(line.raw.take())
    assert line.peer.ended()
    line.arrive(line.peer.send(b"still there"))
    assert line.above.received == b"still there"
    line.transport.write(b"no more")
    assert line.raw.take() == b""


async def test_half_a_close_waits_for_what_was_written(line: Line) -> None:
    line.transport.write(bytes(2 * STEP_BYTES))
    line.transport.write_eof()
    assert not line.raw.eof
    await asyncio.sleep(0)
    assert line.raw.eof
    assert line.answered() == bytes(2 * STEP_BYTES)


def test_a_close_notify_is_an_end_of_what_the_client_sends(line: Line) -> None:
    line.arrive(line.peer.send(b"last") + line.peer.goodbye())
    assert line.above.received == b"last"
    assert line.above.calls == ["made", "eof"]


def test_a_protocol_that_has_nothing_to_say_closes_behind_a_close_notify(line: Line) -> None:
    line.arrive(line.peer.goodbye())
    assert line.above.calls == ["made", "eof"]
    assert line.raw.closing


def test_a_protocol_that_still_answers_keeps_the_connection_behind_a_close_notify(line: Line) -> None:
    line.above.stays_open = True
    line.arrive(line.peer.goodbye())
    assert not line.raw.closing
    assert line.transport.eof_received() is True
    line.transport.write(b"answer")
    assert line.raw.written
    assert line.failures.counts == {}


@pytest.mark.parametrize("data", [b"", b"a", b"a" * 100_000])
def test_a_close_notify_after_one_of_this_side_is_an_end_and_no_failure(line: Line, data: bytes) -> None:
    line.transport.write_eof()
    line.arrive((line.peer.send(data) if data else b"") + line.peer.goodbye())
    assert line.above.received == data
    assert line.above.calls[1:] == ["eof"]
    assert line.failures.counts == {}
    assert not line.raw.aborted


def test_what_comes_behind_a_close_notify_is_dropped_and_not_kept(line: Line) -> None:
    line.above.stays_open = True
    line.arrive(line.peer.goodbye(), b"x" * 100_000)
    assert line.transport._incoming.pending == 0
    assert line.above.received == b""


def test_an_end_without_close_notify_is_noticed(line: Line) -> None:
    line.transport.eof_received()
    assert line.raw.aborted
    assert line.failures.counts == {"truncated": 1}
    assert "eof" not in line.above.calls, "it is no clean end"
    line.transport.connection_lost(None)
    assert line.above.calls == ["made", "lost"]


def test_a_broken_record_ends_the_connection_with_an_alert(line: Line) -> None:
    good, record = line.peer.send(b"good"), bytearray(line.peer.send(b"broken"))
    record[-1] ^= 1
    line.arrive(good, bytes(record))
    assert line.above.received == b"good"
    assert line.failures.counts == {"decryption_failed_or_bad_record_mac": 1}
    assert line.raw.closing
    line.peer.give(line.raw.take())
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        line.peer.received()
    line.arrive(b"ignored")
    assert line.above.received == b"good"


@pytest.mark.parametrize(
    "record", [b"\x17\x03\x03\xff\xff" + bytes(100), b"\x16\x03\x03\x00\x04\x01\x00\x00\x00", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_record_ends_the_connection(line: Line, record: bytes) -> None:
    line.arrive(record)
    assert line.raw.closing
    assert sum(line.failures.counts.values()) == 1


def test_an_abort_is_at_once_and_tells_the_protocol_once(line: Line) -> None:
    line.transport.write(b"x")
    line.transport.abort()
    assert line.raw.aborted
    assert line.transport.is_closing()
    line.transport.connection_lost(None)
    line.transport.connection_lost(None)
    assert line.above.calls == ["made", "lost"]


async def test_whatever_happens_to_a_connection_its_records_reach_no_other(certificates: Certificates) -> None:
    """All connections of a listener write to one buffer: every end of one is followed by a write of another."""
    broken = b"\x17\x03\x03\x00\x20" + bytes(32)
    ends = [
        lambda line: line.arrive(broken),
        lambda line: line.arrive(line.peer.goodbye()),
        lambda line: (line.transport.pause_writing(), line.arrive(broken)),
        lambda line: (line.transport.abort(), line.transport.close()),
        lambda line: line.transport.close(),
        lambda line: (line.raw.close(), line.transport.close()),
        lambda line: line.transport.write_eof(),
        lambda line: (line.transport.write(bytes(2 * STEP_BYTES)), line.transport.abort()),
        lambda line: line.transport.connection_lost(None),
    ]
    for end in ends:
        line = Line(certificates)
        end(line)
        assert line.listener.outgoing.pending == 0


def test_another_protocol_can_take_over(line: Line) -> None:
    tunnel = Above()
    line.transport.set_protocol(tunnel)
    assert line.transport.get_protocol() is tunnel
    line.arrive(line.peer.send(b"frames"))
    line.transport.pause_writing()
    line.transport.connection_lost(None)
    assert (tunnel.received, tunnel.calls) == (b"frames", ["pause", "lost"])
    assert line.above.calls == ["made"]


def test_what_a_connection_tells_of_itself(line: Line) -> None:
    session = line.transport.get_extra_info("tls")
    assert (session.server_name, session.version, session.client_certificate) == ("a.test", "TLSv1.3", None)
    assert session.cipher.startswith("TLS_")
    assert line.transport.get_extra_info("peername") == ("192.0.2.1", 50000)
    assert repr(line.transport) == "<TlsTransport TLSv1.3 open>"
