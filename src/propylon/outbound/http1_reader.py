"""The heads of responses out of the bytes of a connection, without I/O: interim, final, switches (RFC 9110 15.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from propylon.http.memo import Memo
from propylon.http.refusal import Refusal
from propylon.http.response_head import ResponseHead
from propylon.http.websocket import accept_of

if TYPE_CHECKING:
    from propylon.http.request_head import RequestFields

MAX_HEAD_BYTES: Final = 65536  # nginx: 4-8 KiB unless set, Envoy: 60 KiB; endpoints are ours, but not without bound
MAX_INTERIM: Final = 16  # 1xx responses before the final one

_HEADS: Memo[bytes, ResponseHead] = Memo(ResponseHead)


class HeadReader:
    """Reads the heads of the responses to one request after the other.

    Attributes:
        rest: what has arrived and is no whole head: the front of one, or what followed the last one.
    """

    __slots__ = ("_interim", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self._interim = 0

    def feed(self, data: bytes) -> ResponseHead | None:
        """Take what arrived and return the next head, if it is whole; `rest` is then what follows it.

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
