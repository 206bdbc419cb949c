"""Sans-I/O reader of response heads: interim, final, 101 (RFC 9110 15.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from propylon.http.memo import Memo
from propylon.http.refusal import Refusal
from propylon.http.response_head import ResponseHead
from propylon.http.websocket import accept_of

if TYPE_CHECKING:
    from propylon.http.request_head import RequestFields

MAX_HEAD_BYTES: Final = 65536  # nginx: 4-8 KiB by default, Envoy: 60 KiB
MAX_INTERIM: Final = 16  # 1xx responses before the final one

_HEADS: Memo[bytes, ResponseHead] = Memo(ResponseHead)


class HeadReader:
    """Reader of the response heads of one connection.

    Attributes:
        rest: received bytes beyond the last head: the start of the next one, or a body.
    """

    __slots__ = ("_interim", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self._interim = 0

    def feed(self, data: bytes) -> ResponseHead | None:
        """Parse received bytes; return the next head if it is complete, with the bytes after it in `rest`.

        Raises:
            Refusal: head.bad.
        """
        if self.rest:
            data = self.rest + data
        end = data.find(b"\r\n\r\n")
        if end > MAX_HEAD_BYTES or (end < 0 and len(data) > MAX_HEAD_BYTES):
            raise Refusal("head.bad", f"the head is longer than {MAX_HEAD_BYTES} bytes")
        if end < 0:
            self.rest = data
            return None
        head = _HEADS[data[: end + 2]]
        self.rest = data[end + 4 :]
        if head.status >= 200:
            self._interim = 0
        elif head.status != 101:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise Refusal("head.bad", "too many 1xx responses")
        return head


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
