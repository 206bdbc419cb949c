"""Handshakes with endpoints: handed over once they are over, and told by their cause when they fail."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast

import pytest

from propylon.outbound.tls import client_context
from propylon.outbound.tls_handshake import EndpointHandshake, NotTlsError, TlsClient
from propylon.transport.tls_transport import TlsTransport
from tests.outbound.conftest import Pki
from tests.support.fakes import FakeTransport


class Above(asyncio.Protocol):
    """The protocol that is to speak over TLS."""

    def __init__(self) -> None:
        self.made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made += 1


class Handshake:
    """A handshake with a server that is two buffers."""

    def __init__(self, pki: Pki, name: str = "localhost") -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.server, pki.server_key)
        self.to_server, self.to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = context.wrap_bio(self.to_server, self.to_client, server_side=True)
        self.above = Above()
        self.raw = FakeTransport()
        self.handshake = EndpointHandshake(TlsClient(client_context(True, pki.ca, None, None), name), self.above)
        self.handshake.connection_made(cast("Any", self.raw))

    def step(self) -> None:
        """Let the server read what was sent, and respond."""
        self.to_server.write(self.raw.take())
        try:
            self.server.do_handshake()
        except ssl.SSLError:  # more is needed, or the handshake has failed
            pass

    def finish(self, *, cut: bool = False) -> None:
        for _ in range(3):
            self.step()
            data = self.to_client.read()
            for piece in [data[at : at + 1] for at in range(len(data))] if cut else [data] * bool(data):
                receiver = self.raw.protocol or self.handshake
                receiver.data_received(piece)


@pytest.mark.parametrize("cut", [False, True])
async def test_the_connection_is_handed_over_with_what_follows(pki: Pki, cut: bool) -> None:
    line = Handshake(pki)
    line.finish(cut=cut)
    transport = await line.handshake.done
    assert isinstance(transport, TlsTransport)
    assert (line.above.made, line.raw.protocol) == (1, transport)
    transport.write(b"hello")
    line.to_server.write(line.raw.take())
    assert line.server.read() == b"hello"


async def test_a_certificate_of_another_name_fails_with_an_alert(pki: Pki) -> None:
    line = Handshake(pki, "other.test")
    line.finish()
    with pytest.raises(ssl.SSLCertVerificationError):
        await line.handshake.done
    assert (line.above.made, line.raw.closing) == (0, True)


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n", b"SSH-2.0-x\r\n", b"\x00\x00\x06"])
async def test_what_is_no_tls_is_shown(pki: Pki, said: bytes) -> None:
    line = Handshake(pki)
    line.handshake.data_received(said)
    line.handshake.data_received(b"more")
    with pytest.raises(NotTlsError, match="is it http://") as error:
        await line.handshake.done
    assert repr(said)[1:] in str(error.value)
    assert str(error.value).isprintable()
    assert line.raw.closing


async def test_a_connection_that_ends_in_the_handshake_has_failed(pki: Pki) -> None:
    line = Handshake(pki)
    assert not line.handshake.eof_received()
    line.handshake.connection_lost(None)
    line.handshake.data_received(b"late")
    with pytest.raises(ConnectionResetError, match="closed"):
        await line.handshake.done
