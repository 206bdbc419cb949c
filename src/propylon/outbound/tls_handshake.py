"""The TLS handshake with an endpoint; afterwards the connection is handed over to a `TlsTransport`.

The event loop could do TLS itself, but then what an endpoint sent before it reset the connection would be lost
(`transport/unread.py`): the event loop closes TLS without decrypting what it has not read.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from typing import TYPE_CHECKING, Final, cast

from propylon.http.shown import shown
from propylon.transport.tls_transport import Engine, TlsTransport

if TYPE_CHECKING:
    from propylon.transport.tls_transport import Failures

_RECORDS: Final = range(0x14, 0x19)  # the types of TLS records (RFC 8446 5.1, RFC 6520)
_OF_THREAD: Final = threading.local()


class NotTlsError(Exception):
    """The endpoint responded with something that is no TLS record."""


class TlsClient:
    """The client's side of TLS, for a new connection to an endpoint (`Side`).

    Attributes:
        outgoing: the buffer that OpenSSL writes to, shared by all connections to endpoints in a thread.
    """

    __slots__ = ("_context", "_name", "outgoing")

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        """`name`: sent as SNI, and verified."""
        self._context = context
        self._name = name
        if not hasattr(_OF_THREAD, "outgoing"):
            _OF_THREAD.outgoing = ssl.MemoryBIO()
        self.outgoing: ssl.MemoryBIO = _OF_THREAD.outgoing

    def wrap(self, incoming: ssl.MemoryBIO) -> ssl.SSLObject:
        """Return the TLS object of a new connection that reads from `incoming`."""
        return self._context.wrap_bio(incoming, self.outgoing, server_hostname=self._name)


class EndpointHandshake(asyncio.Protocol):
    """A connection during its handshake.

    Attributes:
        done: the transport of the protocol above; `ssl.SSLError`, `NotTlsError` or `ConnectionError` if
            the handshake failed.
    """

    __slots__ = ("_begun", "_engine", "_protocol", "_raw", "done")

    def __init__(self, tls: TlsClient, protocol: asyncio.Protocol) -> None:
        """`protocol` gets the connection after the handshake."""
        self._engine = Engine(tls)
        self._protocol = protocol
        self._raw: asyncio.Transport | None = None
        self._begun = False
        self.done: asyncio.Future[TlsTransport] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the ClientHello."""
        self._raw = cast("asyncio.Transport", transport)
        self._step(self._raw)

    def data_received(self, data: bytes) -> None:
        """Continue with received records."""
        raw = self._raw
        if raw is None or self.done.done():
            return
        if not self._begun and data[0] not in _RECORDS:
            self._fail(raw, NotTlsError(f"the endpoint speaks no TLS, it began with {shown(data)}: is it http://?"))
            return
        self._begun = True
        self._engine.incoming.write(data)
        self._step(raw)

    def _step(self, raw: asyncio.Transport) -> None:
        engine = self._engine
        try:
            engine.tls.do_handshake()
        except ssl.SSLWantReadError:
            raw.write(engine.outgoing.read())
        except ssl.SSLError as error:
            raw.write(engine.outgoing.read())  # the alert
            self._fail(raw, error)
        else:
            if engine.outgoing.pending:
                raw.write(engine.outgoing.read())
            transport = TlsTransport(raw, engine, None, _UNCOUNTED)
            raw.set_protocol(transport)
            self.done.set_result(transport)
            transport.start(self._protocol)

    def _fail(self, raw: asyncio.Transport, error: ssl.SSLError | NotTlsError) -> None:
        self.done.set_exception(error)
        raw.close()

    def eof_received(self) -> bool:
        """Close: the handshake cannot complete."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail, if the endpoint has closed the connection."""
        self._raw = None
        if not self.done.done():
            self.done.set_exception(ConnectionResetError(str(exc or "closed")))


class _Uncounted:
    """Failures that are reported by the end of the connection alone."""

    def count(self, cause: str) -> None:
        """Do nothing."""

    def count_error(self, error: ssl.SSLError) -> None:
        """Do nothing."""


_UNCOUNTED: Final[Failures] = _Uncounted()
