"""TLS after the handshake: a transport for the protocol above, a protocol for the socket below.

Rules of the file:

- OpenSSL works between two memory buffers and never touches the socket, so nothing here blocks, and a request costs
  four calls of it: records in, plaintext out; plaintext in, records out.
- The buffer that OpenSSL writes to is shared by all connections of a listener, or of a side of any other kind: a
  buffer never shrinks, and a recently used one is in the processor's cache. So it is emptied before anything else can
  run: every call of OpenSSL is followed by a read of `outgoing`. OpenSSL's own alerts (RFC 8446 6) are sent in this
  way too.
- Received bytes are fed to OpenSSL in pieces of `FEED_BYTES`, which it consumes completely, so that buffer stays small.
- At most `STEP_BYTES` are encrypted in one turn of the event loop; the rest waits as plaintext, and writing of the
  protocol is paused, as by any transport whose buffer is full.
- A connection that ends without close_notify was truncated (RFC 8446 6.1): it is counted, and the protocol gets
  `connection_lost` without `eof_received`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Any, Protocol, cast

from propylon.transport.unread import unread_bytes

STEP_BYTES = 256 * 1024  # encrypted in one turn: about a quarter of a millisecond, and the size of a read of uvloop
FEED_BYTES = 32 * 1024
RECORD_BYTES = 16384  # maximum plaintext of one record (RFC 8446 5.1)


class Side(Protocol):
    """What the connections of a listener, or of an endpoint, have in common.

    Attributes:
        outgoing: the buffer that OpenSSL writes to.
    """

    outgoing: ssl.MemoryBIO

    def wrap(self, incoming: ssl.MemoryBIO) -> ssl.SSLObject:
        """Return the TLS object of a new connection that reads from `incoming`."""


class Failures(Protocol):
    """Counts failures after the handshake."""

    def count(self, cause: str) -> None:
        """Count a failure by its cause."""

    def count_error(self, error: ssl.SSLError) -> None:
        """Count an OpenSSL error."""


class Engine:
    """OpenSSL's part of a connection: the TLS object, and its buffers for incoming and outgoing records."""

    __slots__ = ("incoming", "outgoing", "tls")

    def __init__(self, side: Side) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), side.outgoing
        self.tls = side.wrap(self.incoming)


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """Carries one protocol over TLS. `get_extra_info("tls")` is its session."""

    __slots__ = (
        "_backlog", "_backlog_bytes", "_closing", "_decrypt", "_encrypt", "_eof_due", "_error", "_failures",
        "_incoming", "_outgoing", "_paused", "_peer_done", "_protocol", "_raw", "_raw_full", "_session", "_shut",
        "_stalled", "_tls",
    )  # fmt: skip

    def __init__(self, raw: asyncio.Transport, engine: Engine, session: object, failures: Failures) -> None:
        """Take over a connection after its handshake.

        Args:
            session: for the protocol above; `None` for none.
        """
        super().__init__()
        self._raw = raw
        self._incoming, self._outgoing, self._tls = engine.incoming, engine.outgoing, engine.tls
        self._decrypt, self._encrypt = engine.tls.read, engine.tls.write
        self._session = session
        self._failures = failures
        self._error: ssl.SSLError | None = None
        self._protocol: asyncio.Protocol = _NO_PROTOCOL
        self._backlog: deque[memoryview] = deque()
        self._backlog_bytes = 0
        self._paused = self._raw_full = self._stalled = False
        self._closing = self._eof_due = self._peer_done = self._shut = False

    def __repr__(self) -> str:
        return f"<TlsTransport {self._tls.version()} {'closing' if self.is_closing() else 'open'}>"

    def start(self, protocol: asyncio.Protocol) -> None:
        """Attach `protocol`, and deliver the bytes after the handshake."""
        self._protocol = protocol
        protocol.connection_made(self)
        if self._incoming.pending:
            self._deliver_pending()

    # the socket's side

    def data_received(self, data: bytes) -> None:
        """Decrypt received records, and deliver the plaintext in one piece; nothing is delivered after close_notify."""
        incoming = self._incoming
        if self._peer_done or self._closing:
            return
        if self._paused:
            incoming.write(data)
            return
        rest = memoryview(data)[FEED_BYTES:] if len(data) > FEED_BYTES else None
        incoming.write(data if rest is None else data[:FEED_BYTES])
        size = incoming.pending  # plaintext is shorter than its record, unless OpenSSL has a part of the record already
        if not size:
            return
        try:
            plain = self._decrypt(size)
            if (rest is not None or incoming.pending or len(plain) == size) and plain:
                plain = self._decrypt_more(plain, rest)
        except ssl.SSLWantReadError:
            plain = None
        except ssl.SSLZeroReturnError:  # close_notify after one of this side: Python raises, and returns b"" otherwise
            plain = b""
        except ssl.SSLError as error:
            self._fail(error)
            return
        if self._outgoing.pending:
            self._raw.write(self._outgoing.read())
        if plain:
            self._protocol.data_received(plain)
        elif plain is not None:
            self._peer_done = True
        if self._peer_done and not self._closing and not self._protocol.eof_received():
            self.close()

    def eof_received(self) -> bool:
        """Handle a FIN. After close_notify the protocol has already decided whether the connection stays open."""
        if self._peer_done:
            return not self.is_closing()
        if not self._closing:
            self._failures.count("truncated")
        self.abort()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the loss to the protocol."""
        self._closing = True
        self._backlog.clear()
        self._backlog_bytes = 0
        protocol, self._protocol = self._protocol, _NO_PROTOCOL
        protocol.connection_lost(exc or self._error)

    def pause_writing(self) -> None:
        """Pause writing: the socket's buffer is full."""
        self._raw_full = True
        self._stall()

    def resume_writing(self) -> None:
        """Resume writing, with the backlog first."""
        self._raw_full = False
        if self._backlog:
            self._send_step()
        else:
            self._after_flush()

    # reading

    def _decrypt_more(self, data: bytes, rest: memoryview | None) -> bytes:
        """Decrypt further records, bounded by the size of one read of the socket."""
        pieces = [data]
        read, incoming, tls = self._decrypt, self._incoming, self._tls
        while data:
            try:
                while data and (incoming.pending or tls.pending()):
                    data = read(RECORD_BYTES)
                    pieces.append(data)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:  # as in `data_received`
                data = b""
            if not rest:
                break
            incoming.write(rest[:FEED_BYTES])
            rest = rest[FEED_BYTES:]
        self._peer_done = not data
        return b"".join(pieces)

    def _fail(self, error: ssl.SSLError) -> None:
        """Close a connection after an invalid record, with OpenSSL's alert."""
        self._error = error
        self._failures.count_error(error)
        alert = self._outgoing.read()
        if self._raw_full or not alert:
            self.abort()
            return
        self._closing = True
        self._raw.write(alert)
        self._raw.close()

    def pause_reading(self) -> None:
        """Pause delivery and reading from the socket."""
        self._paused = True
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading and delivery, with pending records first."""
        self._paused = False
        self._raw.resume_reading()
        if self._incoming.pending:
            asyncio.get_running_loop().call_soon(self._deliver_pending)

    def _deliver_pending(self) -> None:
        """Deliver records that were received before."""
        self.data_received(b"")

    def unread(self) -> bytes:
        """Return what is left to read after the connection was lost (`unread_bytes`)."""
        self._incoming.write(unread_bytes(self._raw))
        pieces = []
        try:
            while piece := self._decrypt(RECORD_BYTES):
                pieces.append(piece)
        except ssl.SSLError:  # an incomplete record, or none
            pass
        self._outgoing.read()  # there is nobody to send it to
        return b"".join(pieces)

    def is_reading(self) -> bool:
        """Return whether the protocol gets data."""
        return not self._paused and not self._closing

    # writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send; data beyond one step waits for the next turn of the event loop."""
        if self._backlog or len(data) > STEP_BYTES:
            self._enqueue(data)
        elif data and not (self._closing or self._eof_due):
            try:
                self._encrypt(data)
            except ssl.SSLError as error:
                self._fail(error)
                return
            self._raw.write(self._outgoing.read())

    def _enqueue(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._eof_due:
            return
        self._backlog.append(memoryview(bytes(data)))
        self._backlog_bytes += len(data)
        self._stall()
        if len(self._backlog) == 1 and not self._raw_full:
            self._send_step()

    def _send_step(self) -> None:
        """Encrypt the next step of the backlog, and schedule the one after it."""
        if self._raw_full or not self._backlog or self._raw.is_closing():
            return
        first = self._backlog[0]
        if len(first) > STEP_BYTES:
            self._backlog[0] = first[STEP_BYTES:]
        else:
            self._backlog.popleft()
        self._backlog_bytes -= len(first[:STEP_BYTES])
        try:
            self._encrypt(first[:STEP_BYTES])
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._raw.write(self._outgoing.read())
        if self._backlog:
            asyncio.get_running_loop().call_soon(self._send_step)
        else:
            self._after_flush()

    def _stall(self) -> None:
        if not self._stalled:
            self._stalled = True
            self._protocol.pause_writing()

    def _after_flush(self) -> None:
        """Once the socket's buffer is empty enough: resume the protocol, or carry out its close or FIN."""
        if self._raw_full:
            return
        if self._stalled:
            self._stalled = False
            self._protocol.resume_writing()
        if self._backlog:
            return
        if self._closing:
            self._finish()
        elif self._eof_due and not self._shut:
            self._send_close_notify()
            self._raw.write_eof()

    def get_write_buffer_size(self) -> int:
        """Return the unsent bytes: records in the socket's buffer and plaintext in the backlog."""
        return self._raw.get_write_buffer_size() + self._backlog_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the thresholds in bytes for pausing and resuming the protocol."""
        self._raw.set_write_buffer_limits(high, low)

    # ending

    def can_write_eof(self) -> bool:
        """Return True: close_notify closes one direction."""
        return True

    def write_eof(self) -> None:
        """Send close_notify and FIN after everything is written; the client may still send (RFC 8446 6.1)."""
        if self._eof_due or self._closing:
            return
        self._eof_due = True
        if not self._backlog:
            self._send_close_notify()
            self._raw.write_eof()

    def close(self) -> None:
        """Close after everything is written, with close_notify."""
        if self._closing:
            return
        self._closing = True
        if not self._backlog:
            self._finish()

    def _finish(self) -> None:
        self._send_close_notify()
        self._raw.close()

    def _send_close_notify(self) -> None:
        if self._shut:
            return
        self._shut = True
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # raised as the client's close_notify has not arrived; it is not awaited
        alert = self._outgoing.read()
        if alert and not self._raw.is_closing():
            self._raw.write(alert)

    def abort(self) -> None:
        """Close the connection at once."""
        self._closing = True
        self._raw.abort()

    def is_closing(self) -> bool:
        """Return whether the transport is closed or closing."""
        return self._closing or self._raw.is_closing()

    # properties

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Replace the protocol."""
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that gets the plaintext."""
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the session for `tls`; other names are those of asyncio."""
        if name == "tls":
            return self._session
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name, default)


_NO_PROTOCOL = asyncio.Protocol()
