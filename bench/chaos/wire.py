"""Clients' connections to the gateway, with and without TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

from bench.soak.wire import Connection

WIDE = 1 << 20


class Reader(asyncio.StreamReader):
    """A reader that still gives what had arrived before a RST, as a socket does; then the end."""

    def set_exception(self, exc: Exception) -> None:
        """Take the loss of the connection for its end."""
        self.feed_eof()


def trusting() -> ssl.SSLContext:
    """Make the TLS of a client that asks for no proof: the run's certificate has nobody who vouches for it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def client_hello() -> bytes:
    """Make what a client of TLS says first."""
    said = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        trusting().wrap_bio(ssl.MemoryBIO(), said, server_hostname="chaos").do_handshake()
    return said.read()


async def connect(port: int, tls: ssl.SSLContext | None, receive_buffer: int | None = None) -> Connection:
    """Connect; a small receive buffer makes a reader slow for the other side too."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await loop.sock_connect(sock, ("127.0.0.1", port))
        reader = Reader(limit=receive_buffer or 65536, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.create_connection(
            lambda: protocol, sock=sock, ssl=tls, server_hostname="chaos" if tls is not None else None
        )
    except BaseException:
        sock.close()
        raise
    return Connection(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


def widen(connection: Connection) -> None:
    """Let a slow reader be quick from now on."""
    connection.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WIDE)
