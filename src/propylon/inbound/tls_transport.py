"""TLS on a connection whose handshake is over: a transport for the protocol above, a protocol for the socket below.

Rules of the file:

- OpenSSL works between two memory buffers and never touches the socket, so nothing here blocks, and a request costs
  four calls of it: records in, plaintext out; plaintext in, records out.
- The buffer that OpenSSL writes to is one for all connections of a listener: a buffer never shrinks, and one that was
  used a moment ago is in the processor's cache. So it is emptied before anything else can run: behind every call of
  OpenSSL stands a read of `outgoing`. What OpenSSL has to say by itself (alerts, RFC 8446 6) leaves in this way too.
- What arrives is fed to OpenSSL in pieces of `FEED_BYTES`, which it takes whole, so that buffer stays small.
- At most `STEP_BYTES` are encrypted in one turn of the loop; what is written beyond that waits as plaintext, and the
  protocol is told to pause, as by any transport whose buffer is full.
- A connection that ends without close_notify was cut off (RFC 8446 6.1): it is counted, and its protocol is told that
  the connection is lost, not that the client has finished.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from propylon.inbound.tls import ListenerTls
    from propylon.inbound.tls_failures import TlsFailures
    from propylon.inbound.tls_session import TlsSession

STEP_BYTES = 256 * 1024  # encrypted in one turn; about a quarter of a millisecond, and what uvloop reads in one piece
FEED_BYTES = 32 * 1024
RECORD_BYTES = 16384  # plaintext of one record at the most (RFC 8446 5.1)


class Engine:
    """OpenSSL's half of a connection: the object, the buffer it reads records from, and the one it writes them to."""

    __slots__ = ("incoming", "outgoing", "tls")

    def __init__(self, listener: ListenerTls) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), listener.outgoing
        self.tls = listener.wrap(self.incoming)


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """Carries one protocol over TLS. `get_extra_info("tls")` is its `TlsSession`."""

    __slots__ = (
        "_backlog", "_backlog_bytes", "_closing", "_decrypt", "_encrypt", "_eof_due", "_failures", "_incoming",
        "_outgoing", "_paused", "_peer_done", "_protocol", "_raw", "_raw_full", "_session", "_shut", "_stalled", "_tls",
    )  # fmt: skip

    def __init__(self, raw: asyncio.Transport, engine: Engine, session: TlsSession, failures: TlsFailures) -> None:
        super().__init__()
        self._raw = raw
        self._incoming, self._outgoing, self._tls = engine.incoming, engine.outgoing, engine.tls
        self._decrypt, self._encrypt = engine.tls.read, engine.tls.write
        self._session = session
        self._failures = failures
        self._protocol: asyncio.Protocol = _NOBODY
        self._backlog: deque[memoryview] = deque()
        self._backlog_bytes = 0
        self._paused = self._raw_full = self._stalled = False
        self._closing = self._eof_due = self._peer_done = self._shut = False

    def __repr__(self) -> str:
        return f"<TlsTransport {self._session.version} {'closing' if self.is_closing() else 'open'}>"

    def start(self, protocol: asyncio.Protocol) -> None:
        """Give the connection to `protocol`, with what came behind the handshake."""
        self._protocol = protocol
        protocol.connection_made(self)
        if self._incoming.pending:
            self._take_up()

    # the socket's side

    def data_received(self, data: bytes) -> None:
        """Take records; give the protocol, in one piece, what is whole; behind a close_notify comes no more."""
        incoming = self._incoming
        if self._peer_done or self._closing:
            return
        if self._paused:
            incoming.write(data)
            return
        rest = memoryview(data)[FEED_BYTES:] if len(data) > FEED_BYTES else None
        incoming.write(data if rest is None else data[:FEED_BYTES])
        size = incoming.pending  # a record's plaintext is shorter, unless OpenSSL has the record's beginning already
        if not size:
            return
        try:
            plain = self._decrypt(size)
            if (rest is not None or incoming.pending or len(plain) == size) and plain:
                plain = self._take_more(plain, rest)
        except ssl.SSLWantReadError:
            plain = None
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
        """Take a FIN. Behind a close_notify the protocol has decided already whether the connection stays open."""
        if self._peer_done:
            return not self.is_closing()
        if not self._closing:
            self._failures.count("truncated")
        self.abort()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the protocol."""
        self._closing = True
        self._backlog.clear()
        self._backlog_bytes = 0
        protocol, self._protocol = self._protocol, _NOBODY
        protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """The socket is full."""
        self._raw_full = True
        self._stall()

    def resume_writing(self) -> None:
        """The socket takes data again: first what waits here."""
        self._raw_full = False
        if self._backlog:
            self._send_step()
        else:
            self._flow()

    # reading

    def _take_more(self, data: bytes, rest: memoryview | None) -> bytes:
        """Decrypt further records; what is there is bounded by what the socket gives at once."""
        pieces = [data]
        read, incoming, tls = self._decrypt, self._incoming, self._tls
        while data:
            try:
                while data and (incoming.pending or tls.pending()):
                    data = read(RECORD_BYTES)
                    pieces.append(data)
            except ssl.SSLWantReadError:
                pass
            if not rest:
                break
            incoming.write(rest[:FEED_BYTES])
            rest = rest[FEED_BYTES:]
        self._peer_done = not data
        return b"".join(pieces)

    def _fail(self, error: ssl.SSLError) -> None:
        """End a connection whose records are broken; OpenSSL has written the alert that says so."""
        self._failures.count_error(error)
        alert = self._outgoing.read()
        if self._raw_full or not alert:
            self.abort()
            return
        self._closing = True
        self._raw.write(alert)
        self._raw.close()

    def pause_reading(self) -> None:
        """Deliver nothing more, and take nothing from the socket."""
        self._paused = True
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Deliver again, beginning with what has waited."""
        self._paused = False
        self._raw.resume_reading()
        if self._incoming.pending:
            asyncio.get_running_loop().call_soon(self._take_up)

    def _take_up(self) -> None:
        """Go on with what has arrived already."""
        self.data_received(b"")

    def is_reading(self) -> bool:
        """Tell whether the protocol gets data."""
        return not self._paused and not self._closing

    # writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send; what is beyond one step waits for the next turn."""
        if self._backlog or len(data) > STEP_BYTES:
            self._keep(data)
        elif data and not (self._closing or self._eof_due):
            try:
                self._encrypt(data)
            except ssl.SSLError as error:
                self._fail(error)
                return
            self._raw.write(self._outgoing.read())

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write pieces as one: fewer records."""
        self.write(b"".join(list_of_data))

    def _keep(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._eof_due:
            return
        self._backlog.append(memoryview(bytes(data)))
        self._backlog_bytes += len(data)
        self._stall()
        if len(self._backlog) == 1 and not self._raw_full:
            self._send_step()

    def _send_step(self) -> None:
        """Encrypt the next step of what waits; the one after it in the next turn, if the socket takes it."""
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
            self._flow()

    def _stall(self) -> None:
        if not self._stalled:
            self._stalled = True
            self._protocol.pause_writing()

    def _flow(self) -> None:
        """Go on once nothing waits: the protocol writes again, or the end that it asked for comes."""
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
            self._say_goodbye()
            self._raw.write_eof()

    def get_write_buffer_size(self) -> int:
        """Return the bytes that have not left: records in the socket's buffer, and plaintext that waits."""
        return self._raw.get_write_buffer_size() + self._backlog_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set from how many bytes on the protocol is told to pause, and to go on."""
        self._raw.set_write_buffer_limits(high, low)

    # ending

    def can_write_eof(self) -> bool:
        """TLS can: close_notify ends one direction."""
        return True

    def write_eof(self) -> None:
        """Send close_notify and FIN behind what was written; the client may still send (RFC 8446 6.1)."""
        if self._eof_due or self._closing:
            return
        self._eof_due = True
        if not self._backlog:
            self._say_goodbye()
            self._raw.write_eof()

    def close(self) -> None:
        """Send what was written, and close_notify; then close."""
        if self._closing:
            return
        self._closing = True
        if not self._backlog:
            self._finish()

    def _finish(self) -> None:
        self._say_goodbye()
        self._raw.close()

    def _say_goodbye(self) -> None:
        if self._shut:
            return
        self._shut = True
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # it waits for the client's own close_notify, and nobody else does
        goodbye = self._outgoing.read()
        if goodbye and not self._raw.is_closing():
            self._raw.write(goodbye)

    def abort(self) -> None:
        """Cut the connection at once."""
        self._closing = True
        self._raw.abort()

    def is_closing(self) -> bool:
        """Tell whether it is closed, or about to be."""
        return self._closing or self._raw.is_closing()

    # what it is

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol have what comes from now on."""
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that gets the plaintext."""
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return `tls`, the session; what else a transport tells comes from the socket's."""
        return self._session if name == "tls" else self._raw.get_extra_info(name, default)


_NOBODY = asyncio.Protocol()
