"""Responses for policies: of the gateway's own, and those of services."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, Final

from propylon.engine.body import Body
from propylon.engine.content import DESCRIBES_CONTENT, READ_LIMIT_BYTES, RESPONSE
from propylon.engine.sides import UNKNOWN
from propylon.http.headers import Headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from propylon.engine.body import BodyTap
    from propylon.engine.exchange import Exchange
    from propylon.http.response_head import ResponseHead

_PARTIAL: Final = 206
_CHARSET: Final = re.compile(r'charset=(?:"[^"]*"|[^;\s]*)', re.IGNORECASE)


class Response:
    """A response: made by a policy, or received from a service.

    Attributes:
        headers: the header section; framing fields are written by the gateway.
        head: the service's head, before any policy; `None` if the response is the gateway's own.
        replaced: whether the body is not the service's.
    """

    __slots__ = ("_body", "_length", "_status", "head", "headers", "replaced")

    def __init__(
        self,
        status: int = 200,
        *,
        body: bytes | str | AsyncIterable[bytes] = b"",
        length: int | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> None:
        """Make a response of the gateway's own.

        Args:
            status: 200 to 599.
            body: the content; text is sent as UTF-8. The pieces of an async iterator of bytes are requested as fast as
                the client reads them.
            length: of the pieces together, in bytes, if it is known; sent as Content-Length.
            json: content to be encoded as JSON, instead of `body`.
            headers: further fields.
            content_type: by default `application/json` for `json`, `text/plain; charset=utf-8` for text.

        Raises:
            ValueError: a status out of range, or an invalid header.
            TypeError: a body of another type.
        """
        self.status = status
        self.headers = Headers(headers or {})
        kind = content_type
        if json is not None:
            import orjson

            body, kind = orjson.dumps(json), kind or "application/json"
        elif isinstance(body, str):
            body, kind = body.encode(), kind or "text/plain; charset=utf-8"
        elif not isinstance(body, bytes | Body | AsyncIterable):
            raise TypeError(f"a body is bytes, text or an async iterator of bytes, not {body!r}; for values use json=")
        if kind and "content-type" not in self.headers:
            self.headers.set("content-type", kind)
        self._body: bytes | Body | AsyncIterable[bytes] = body
        self._length = UNKNOWN if length is None else length
        self.head: ResponseHead | None = None
        self.replaced = True

    @classmethod
    def of_service(cls, head: ResponseHead, body: bytes | Body) -> Response:
        """Wrap the response of an endpoint; nothing is copied."""
        self = cls.__new__(cls)
        self._status = head.status
        self.headers = Headers(head.visible)
        self._body = body
        self.head = head
        self.replaced = False
        return self

    def of_exchange(self, x: Exchange) -> Response:
        """Return a copy that can be changed: many exchanges may share this response.

        A body of an iterator belongs to `x` from now on.
        """
        made = Response.__new__(Response)
        made._status, made.head, made.replaced = self._status, self.head, self.replaced
        made.headers = Headers(tuple(self.headers.raw))
        made._body = self._body
        if not isinstance(self._body, bytes | Body):  # and not `bound`, which the type checker cannot follow
            from propylon.engine.feed import IteratorFeed  # rarely used

            made._body = IteratorFeed(x, self._body, self._length).body
        return made

    @property
    def status(self) -> int:
        """The HTTP status. Setting raises `ValueError` for anything but 200 to 599."""
        return self._status

    @status.setter
    def status(self, value: int) -> None:
        if not isinstance(value, int) or not 200 <= value <= 599:
            raise ValueError(f"a response has a status from 200 to 599, not {value!r}")
        self._status = int(value)

    @property
    def bound(self) -> bool:
        """Whether the body can be sent: one of an iterator must belong to an exchange first."""
        return isinstance(self._body, bytes | Body)

    @property
    def content(self) -> bytes | Body:
        """The body, complete or under way. For the engine; policies use `body()`."""
        assert isinstance(self._body, bytes | Body), "a response that no exchange has"
        return self._body

    async def body(self, limit: int = READ_LIMIT_BYTES, *, decode: bool = True) -> bytes:
        """Read the whole body; the client still gets it as it came. It is empty after HEAD, and of 204 and 304.

        Args:
            limit: of the body, in bytes.
            decode: undo its content codings (Content-Encoding).

        Raises:
            GatewayError: response.body_too_large (502) beyond the limit, response.undecodable (502).
        """
        content = self.content
        if isinstance(content, Body):
            most = RESPONSE.raw_limit(self.headers, limit) if decode else limit
            content = self._body = await content.read_all(most, "response.body_too_large")
        return await RESPONSE.decode(self.headers, content, limit) if decode else content

    def tap(self, tap: BodyTap) -> None:
        """Copy the current body to `tap`, piece by piece, on its way to the client.

        The tap applies no backpressure, and gets no changes of later policies. It gets the body in its content coding.

        Args:
            tap: has `write_body(data)`, `end_body(trailers)`, and `fail_body(error)` for an incomplete body.
        """
        content = self.content
        if isinstance(content, Body):
            content.tap(tap)
            return
        if content:
            tap.write_body(content)
        tap.end_body([])

    def replace_body(self, data: bytes | str, *, content_type: str | None = None) -> None:
        """Replace the body by `data`, with its length; text is sent as UTF-8.

        Fields that describe the old body are dropped, as Content-Encoding, ETag and Content-Range; a 206 becomes a 200.
        Those that hold for the new one can be set afterwards.

        Args:
            content_type: by default, the field stays, with the charset of the text.

        Raises:
            TypeError: `data` is neither bytes nor text.
        """
        if not isinstance(data, bytes | str):
            raise TypeError(f"a body is bytes or text, not {data!r}")
        if isinstance(self._body, Body):
            self._body.detach()
        self._body = data.encode() if isinstance(data, str) else data
        self.replaced = True
        self.headers.remove_all(DESCRIBES_CONTENT)
        if self._status == _PARTIAL:
            self._status = 200
        if content_type is None and isinstance(data, str):
            before = self.headers.get("content-type") or ""
            content_type = _CHARSET.sub("charset=utf-8", before) if _CHARSET.search(before) else None
        if content_type is not None:
            self.headers.set("content-type", content_type)

    def __repr__(self) -> str:
        return f"<Response {self.status}>"
