"""Handshakes: in turn, in time, counted, and never a burden to those who are connected."""

from __future__ import annotations

import asyncio
import logging
import ssl
from math import inf
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from propylon.engine.snapshot import ClientLimits
from propylon.engine.timing import Ending
from propylon.engine.websocket.settings import DRAINED
from propylon.inbound import tls_handshake as module
from propylon.inbound.connections import Connections
from propylon.inbound.tls import ListenerTls
from propylon.inbound.tls_handshake import (
    GOODBYE_SECONDS,
    HANDSHAKE_SECONDS,
    MAX_WAITING_BYTES,
    PLAIN_HTTP_ANSWER,
    SLICE_SECONDS,
    HandshakeLine,
    TlsHandshake,
)
from propylon.runtime.core import Core
from propylon.transport.tls_transport import TlsTransport
from tests.support.fakes import Clock, FakeTransport, snapshot
from tests.support.tls import Certificates, MemoryPeer


class Spoken(asyncio.Protocol):
    """What speaks over TLS."""

    def __init__(self) -> None:
        self.received = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data


class SwitchingTransport(FakeTransport):
    """A transport that remembers its protocol."""

    protocol: Any = None

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


class Door:
    """A listener without a socket."""

    def __init__(self, tls: ListenerTls, **limits: Any) -> None:
        self.connections = Connections(Core(snapshot(limits=ClientLimits(**limits))))
        self.tls = tls
        self.line = HandshakeLine()
        self.spoken: list[Spoken] = []

    def connect(self) -> tuple[TlsHandshake, SwitchingTransport]:
        handshake = TlsHandshake(self.connections, self.line, self.tls, self._speak)
        transport = SwitchingTransport()
        handshake.connection_made(cast("Any", transport))
        return handshake, transport

    def _speak(self) -> Spoken:
        self.spoken.append(Spoken())
        return self.spoken[-1]


@pytest.fixture
def door(certificates: Certificates) -> Door:
    return Door(ListenerTls(certificates.config("a"), "listener"))


async def test_a_handshake_in_single_bytes_ends_in_a_connection(door: Door, certificates: Certificates) -> None:
    handshake, raw = door.connect()
    assert handshake in door.connections.open
    peer = MemoryPeer(certificates.client())
    while not door.spoken:
        for byte in peer.take() + (peer.send(b"early") if peer.ready else b""):
            (raw.protocol or handshake).data_received(bytes((byte,)))
            await asyncio.sleep(0)
        peer.give(raw.take())
    assert isinstance(raw.protocol, TlsTransport)
    assert door.spoken[0].transport is raw.protocol
    assert door.spoken[0].received == b"early"
    assert handshake not in door.connections.open, "the protocol has taken its place"
    assert door.tls.failures.counts == {}


async def test_a_request_that_comes_with_the_last_flight_is_not_lost(door: Door, certificates: Certificates) -> None:
    handshake, raw = door.connect()
    peer = MemoryPeer(certificates.client())
    handshake.data_received(peer.take())
    await asyncio.sleep(0)
    peer.give(raw.take())
    handshake.data_received(peer.take() + peer.send(b"GET / HTTP/1.1\r\n"))
    await asyncio.sleep(0)
    assert door.spoken[0].received == b"GET / HTTP/1.1\r\n"


async def test_an_upload_behind_the_last_flight_is_read_on_with_when_its_turn_comes(
    door: Door, certificates: Certificates
) -> None:
    handshake, raw = door.connect()
    peer = MemoryPeer(certificates.client())
    handshake.data_received(peer.take())
    await asyncio.sleep(0)
    peer.give(raw.take())
    upload = bytes(range(256)) * (MAX_WAITING_BYTES // 256 + 1)
    handshake.data_received(peer.take() + peer.send(upload))
    assert not raw.reading, "no more of it until then"
    await asyncio.sleep(0)
    assert raw.reading
    assert door.spoken[0].received == upload
    assert door.tls.failures.counts == {}


async def test_many_handshakes_are_spread_over_turns_of_the_loop(
    monkeypatch: pytest.MonkeyPatch, door: Door, certificates: Certificates
) -> None:
    """Each step takes a third of a slice here; so three fit into a turn."""
    clock = Clock(monkeypatch)
    door.line = HandshakeLine(clock)
    real = module._do_handshake

    def slow(tls: ssl.SSLObject) -> None:
        clock.now += SLICE_SECONDS / 3 + 1e-9
        real(tls)

    monkeypatch.setattr(module, "_do_handshake", slow)
    started = [door.connect() for _ in range(8)]
    for handshake, _ in started:
        handshake.data_received(MemoryPeer(certificates.client()).take())
    progress = []
    for _ in range(4):
        await asyncio.sleep(0)
        progress.append(sum(bool(raw.written) for _, raw in started))
    assert progress == [3, 6, 8, 8]


async def test_data_that_comes_while_a_handshake_waits_puts_it_in_line_once(
    monkeypatch: pytest.MonkeyPatch, door: Door, certificates: Certificates
) -> None:
    steps: list[TlsHandshake] = []
    real = TlsHandshake.step
    monkeypatch.setattr(TlsHandshake, "step", lambda self: (steps.append(self), real(self)))
    handshake, raw = door.connect()
    hello = MemoryPeer(certificates.client()).take()
    handshake.data_received(hello[:10])
    handshake.data_received(hello[10:])
    await asyncio.sleep(0)
    assert raw.written
    assert len(steps) == 1


# those that do not become a connection


async def test_a_late_handshake_is_cut(monkeypatch: pytest.MonkeyPatch, door: Door, certificates: Certificates) -> None:
    clock = Clock(monkeypatch, module)
    handshake, raw = door.connect()
    handshake.data_received(MemoryPeer(certificates.client()).take()[:50])
    handshake.check(clock.now + HANDSHAKE_SECONDS - 0.1)
    assert not raw.aborted
    handshake.data_received(b"\0")  # slowly on: no more time for it
    handshake.check(clock.now + HANDSHAKE_SECONDS)
    assert raw.aborted
    assert door.tls.failures.counts == {"timeout": 1}
    await asyncio.sleep(0)  # its turn comes, and it is gone
    handshake.connection_lost(None)
    assert door.connections.open == set()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"P", b"options * HTTP/1.0\r\n"])
def test_plain_http_is_told_to_use_https(monkeypatch: pytest.MonkeyPatch, door: Door, data: bytes) -> None:
    clock = Clock(monkeypatch, module)
    handshake, raw = door.connect()
    handshake.data_received(data)
    assert raw.take() == PLAIN_HTTP_ANSWER
    assert raw.eof
    assert not raw.closing, "unread bytes would turn the answer into a reset"
    handshake.data_received(b"\x16\x03\x01")
    assert raw.take() == b"", "answered once"
    assert handshake.eof_received() is False
    handshake.check(clock.now + GOODBYE_SECONDS)
    assert raw.aborted
    assert door.tls.failures.counts == {"plain_http": 1}


@pytest.mark.parametrize(
    "data", [b"\x00", b"\x80\x2e\x01\x00\x02", b"\r\n", b"\x15\x03\x01\x00\x02\x02\x00", b"\xff" * 9]
)
def test_what_is_neither_tls_nor_http_is_cut_without_a_word(door: Door, data: bytes) -> None:
    handshake, raw = door.connect()
    handshake.data_received(data)
    assert raw.aborted
    assert raw.written == b""
    assert door.tls.failures.counts == {"bad_record": 1}


async def test_a_handshake_without_end_is_cut(door: Door) -> None:
    """A message may say that it has 16 MiB; nobody waits for them."""
    handshake, raw = door.connect()
    record = b"\x16\x03\x01\x40\x00" + b"\x01\xff\xff\xff" + bytes(16380)
    while raw.reading:
        handshake.data_received(record)
    await asyncio.sleep(0)
    assert raw.closing
    assert door.tls.failures.counts == {"excessive_message_size": 1}


async def test_records_that_a_handshake_leaves_do_not_pile_up(
    monkeypatch: pytest.MonkeyPatch, door: Door, certificates: Certificates
) -> None:
    def take_nothing(tls: ssl.SSLObject) -> None:
        raise ssl.SSLWantReadError

    monkeypatch.setattr(module, "_do_handshake", take_nothing)
    handshake, raw = door.connect()
    hello = MemoryPeer(certificates.client()).take()
    while raw.reading:
        handshake.data_received(hello)
    await asyncio.sleep(0)
    assert raw.aborted
    assert door.tls.failures.counts == {"bad_record": 1}
    await asyncio.sleep(0)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.integers(0, 300), st.booleans())
def test_garbage_never_becomes_a_connection_and_never_raises(
    certificates: Certificates, door: Door, garbage: bytes, at: int, framed: bool
) -> None:
    async def run() -> None:
        handshake, raw = door.connect()
        hello = bytearray(MemoryPeer(certificates.client()).take())
        at_most = min(at, len(hello))
        data = bytes(hello[:at_most]) + b"\xff" + garbage
        handshake.data_received(b"\x16\x03\x01" + len(garbage).to_bytes(2, "big") + garbage if framed else data)
        await asyncio.sleep(0)
        handshake.eof_received()
        handshake.connection_lost(None)
        await asyncio.sleep(0)
        assert door.spoken == []
        assert door.connections.open == set()
        assert raw.protocol is None

    asyncio.run(run())


async def test_tls_1_1_is_refused_with_an_alert(door: Door, certificates: Certificates) -> None:
    handshake, raw = door.connect()
    hello = MemoryPeer(certificates.client()).take().replace(b"\x00\x2b", b"\x7a\x7a", 1)  # no supported_versions
    old = bytearray(hello)
    old[9:11] = b"\x03\x02"
    handshake.data_received(bytes(old))
    await asyncio.sleep(0)
    assert raw.take() == b"\x15\x03\x02\x00\x02\x02\x46", "protocol_version"
    assert door.tls.outgoing.pending == 0, "the next connection writes there"
    assert raw.closing
    assert door.tls.failures.counts == {"unsupported_protocol": 1}


async def test_a_server_name_that_is_not_ascii_leaves_one_line_in_the_log(
    door: Door, certificates: Certificates, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    hello = MemoryPeer(certificates.client()).take().replace(b"a.test", b"\xff\xfe.\n\xfd\x80")
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            handshake, raw = door.connect()
            handshake.data_received(hello)
            await asyncio.sleep(0)
            assert raw.closing
    assert door.tls.failures.counts == {"callback_failed": 5}
    assert len(caplog.records) == 1
    assert capfd.readouterr() == ("", "")


async def test_a_client_that_goes_away_is_forgotten(door: Door, certificates: Certificates) -> None:
    for lost in (None, ConnectionResetError()):
        handshake, _ = door.connect()
        handshake.data_received(MemoryPeer(certificates.client()).take()[:50])
        if lost is None:
            assert handshake.eof_received() is False
        handshake.connection_lost(lost)
        await asyncio.sleep(0)
    assert door.tls.failures.counts == {"closed": 2}
    assert door.connections.open == set()


def test_a_probe_that_says_nothing_is_no_failure(door: Door) -> None:
    handshake, _ = door.connect()
    handshake.eof_received()
    handshake.connection_lost(None)
    assert door.tls.failures.counts == {}


def test_handshakes_count_as_connections(certificates: Certificates) -> None:
    door = Door(ListenerTls(certificates.config("a"), "listener"), connections=1)
    door.connect()
    handshake, raw = door.connect()
    assert raw.aborted
    assert door.tls.failures.counts == {"connections": 1}
    assert handshake.deadline == inf
    assert len(door.connections.open) == 1


def test_a_worker_that_drains_ends_handshakes_and_begins_none(door: Door) -> None:
    handshake, raw = door.connect()
    handshake.drain(Ending(inf, DRAINED))
    assert raw.aborted
    door.connections.intake.draining = True
    _, late = door.connect()
    assert late.aborted
