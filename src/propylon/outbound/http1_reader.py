"""Sans-I/O reader of response heads: interim, final, 101 (RFC 9110 15.2).

Each line is checked when it has arrived, so that an endpoint that does not speak HTTP/1.1 is not waited for. The first
bytes of what is refused are in the message, which is for the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from propylon.http.memo import Memo
from propylon.http.refusal import Refusal
from propylon.http.response_head import ResponseHead
from propylon.http.shown import shown
from propylon.http.websocket import accept_of

if TYPE_CHECKING:
    from propylon.http.request_head import RequestFields

MAX_HEAD_BYTES: Final = 65536  # by default; nginx: 4-8 KiB, Envoy: 60 KiB
MAX_INTERIM: Final = 16  # 1xx responses before the final one

_VERSION: Final = b"HTTP/1."
_TLS_RECORDS: Final = (b"\x15\x03", b"\x16\x03")  # an alert or a handshake (RFC 8446 5.1)

_HEADS: Memo[bytes, ResponseHead] = Memo(ResponseHead)


class HeadReader:
    """Reader of the response heads of one connection.

    Attributes:
        rest: received bytes beyond the last head: the start of the next one, or a body.
    """

    __slots__ = ("_interim", "_max", "rest")

    def __init__(self, max_bytes: int = MAX_HEAD_BYTES) -> None:
        """Read heads of at most `max_bytes`."""
        self.rest = b""
        self._interim = 0
        self._max = max_bytes

    def feed(self, data: bytes) -> ResponseHead | None:
        """Parse received bytes; return the next head if it is complete, with the bytes after it in `rest`.

        Raises:
            Refusal: head.bad.
        """
        if self.rest:
            data = self.rest + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._await_rest(data)
            return None
        if end > self._max:
            raise self._too_long()
        try:
            head = _HEADS[data[: end + 2]]
        except Refusal as refusal:
            raise _begun_with(data, refusal.detail) from None
        self.rest = data[end + 4 :]
        if head.status >= 200:
            self._interim = 0
        elif head.status != 101:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise Refusal("head.bad", "too many 1xx responses")
        return head

    def _await_rest(self, data: bytes) -> None:
        if len(data) > self._max:
            raise self._too_long()
        if data:
            _check_begun(data, len(self.rest))
        self.rest = data

    def _too_long(self) -> Refusal:
        return Refusal("head.bad", f"the head is longer than {self._max} bytes (connections.response_head)")


def _check_begun(data: bytes, checked: int) -> None:
    """Check what has arrived of a head, of which `checked` bytes were checked before.

    Raises:
        Refusal: head.bad.
    """
    if not data.startswith(_VERSION) and not _VERSION.startswith(data):
        hint = ": this is TLS, and the URL should be https://" if data.startswith(_TLS_RECORDS) else ""
        raise _begun_with(data, f"no response of HTTP/1.1{hint}")
    end = data.rfind(b"\n", checked) + 1
    if end:
        if data[end - 2] != 0x0D:
            raise _begun_with(data, "a line ends in a bare LF (RFC 9112 2.2)")
        try:
            ResponseHead(data[:end])  # a part of a valid section is valid, as the refused ones are by a line or two
        except Refusal as refusal:
            raise _begun_with(data, refusal.detail) from None


def _begun_with(data: bytes, detail: str) -> Refusal:
    return Refusal("head.bad", f"{detail}; it began with {shown(data)}")


def check_switch(head: ResponseHead, request: RequestFields) -> None:
    """Check that a 101 answers the handshake in `request` (RFC 6455 4.1).

    Raises:
        Refusal: head.bad.
    """
    key = request.first(b"sec-websocket-key") if request.websocket else None
    accepts = [value for name, value in head.visible if name.lower() == b"sec-websocket-accept"]
    if key is None or not head.switches:
        raise Refusal("head.bad", "a switch of protocols nobody asked for (RFC 9110 7.8)")
    if accepts != [accept_of(key)]:
        raise Refusal("head.bad", "Sec-WebSocket-Accept does not answer the key (RFC 6455 4.1)")
