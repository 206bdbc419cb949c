"""Request, Response and Message for policies: views that cost nothing until they are used."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any

from propylon.engine.body import Body
from propylon.engine.content import DESCRIBES_CONTENT, REQUEST, RESPONSE
from propylon.engine.errors import GatewayError
from propylon.engine.sides import UNKNOWN
from propylon.http import query as http_query
from propylon.http.headers import TOKEN, Headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from propylon.engine.body import BodyTap
    from propylon.engine.exchange import Exchange
    from propylon.engine.spool import BodyFile
    from propylon.http.response_head import ResponseHead

DEFAULT_READ_LIMIT_BYTES = 1024 * 1024  # default limit of `body()`, which holds the body in memory
_PARTIAL = 206
_CHARSET = re.compile(r'charset=(?:"[^"]*"|[^;\s]*)', re.IGNORECASE)


class Request:
    """The canonical request of an exchange. The service gets it with all changes made here."""

    __slots__ = ("_exchange", "headers")

    def __init__(self, exchange: Exchange, headers: Headers | None = None) -> None:
        """Make the request of an exchange; `headers` are those of an earlier view of it."""
        self._exchange = exchange
        self.headers = Headers(exchange.fields.visible) if headers is None else headers

    @property
    def method(self) -> str:
        """The method, as `GET`. Setting raises `ValueError` for an invalid method, and for CONNECT and TRACE."""
        return self._exchange.method.decode("ascii")

    @method.setter
    def method(self, value: str) -> None:
        method = value.encode("latin-1", "replace")
        if not TOKEN.fullmatch(method) or method in (b"CONNECT", b"TRACE"):
            raise ValueError(f"{value!r} is no method that can be sent to a service")
        self._exchange.method = method

    @property
    def path(self) -> str:
        """The canonical path, percent-encoded, without the query.

        Setting it determines the path that the service gets: the route's `strip` or `rewrite` no longer applies. An
        endpoint's base path is still put in front.
        """
        return self._exchange.path.decode("latin-1")

    @path.setter
    def path(self, value: str) -> None:
        self._exchange.set_path(value)

    @property
    def query(self) -> str | None:
        """The query string as received, without `?`; `None` if there is no `?`."""
        query = self._exchange.query
        return None if query is None else query.decode("latin-1")

    @query.setter
    def query(self, value: str | None) -> None:
        self._exchange.set_query(value)

    def query_value(self, name: str) -> str | None:
        """Return the first value of a query parameter, decoded, or `None`."""
        value = http_query.get(self._exchange.query, name.encode())
        return None if value is None else value.decode("utf-8", "replace")

    @property
    def scheme(self) -> str:
        """The client's scheme, `http` or `https` (as reported by a trusted proxy, if there is one)."""
        return self._exchange.origin.scheme.decode("ascii")

    @property
    def host(self) -> str:
        """The host of the request, lower case, without port; empty if it has none."""
        host = self._exchange.host
        return host.name.decode("ascii") if host is not None else ""

    @property
    def client(self) -> str:
        """The client's address, counted from the right through trusted proxies."""
        return self._exchange.origin.client.decode("ascii")

    async def body(self, limit: int = DEFAULT_READ_LIMIT_BYTES, *, decode: bool = True) -> bytes:
        """Read the whole body; the service still gets it as it came.

        Args:
            limit: of the body, in bytes.
            decode: undo its content codings (Content-Encoding).

        Raises:
            GatewayError: request.body_too_large (413) beyond the limit, request.unsupported_coding (415) or
                request.undecodable (400); the policy need not catch them.
        """
        x = self._exchange
        most = REQUEST.raw_limit(self.headers, limit) if decode else limit
        if isinstance(x.body, Body):
            x.body = await x.body.read_all(most, "request.body_too_large")
        elif x.body is not None and len(x.body) > most:
            raise GatewayError("request.body_too_large", f"the body is larger than {limit} bytes")
        return await REQUEST.decode(self.headers, x.body or b"", limit) if decode else x.body or b""

    async def file(self, limit: int) -> BodyFile:
        """Read the whole body as it came into a file, which goes to disk past 1 MiB; the service still gets it.

        The file is closed with the exchange.

        Args:
            limit: the largest body in bytes.

        Raises:
            GatewayError: request.body_too_large (413) beyond the limit.
        """
        from propylon.engine.spool import spool  # it imports half of the standard library, and is rarely used

        return await spool(self._exchange, limit)

    async def stream(self) -> AsyncIterator[bytes]:
        """Consume the body piece by piece, decoded. The service gets an empty body unless `replace_body` sets another.

        Raises:
            GatewayError: as `body`, but without a limit of the size.
        """
        x = self._exchange
        decoder = REQUEST.decoder(self.headers)
        body, x.body = x.body, b""
        stream = body if isinstance(body, Body) else Body.of(body or b"")
        while data := await stream.read():
            for piece in REQUEST.pieces(decoder, data):
                yield piece
        REQUEST.end(decoder)

    def replace_body(self, data: bytes, *, content_type: str | None = None) -> None:
        """Replace the client's body by `data`, with its length.

        Fields that describe the old body are dropped, as Content-Encoding and Content-Digest.

        Args:
            content_type: by default, the field stays.

        Raises:
            TypeError: `data` is not bytes.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"a request's body is bytes, not {data!r}")
        x = self._exchange
        if isinstance(x.body, Body):
            x.body.detach()
        x.body = data
        self.headers.remove_all(DESCRIBES_CONTENT)
        if content_type is not None:
            self.headers.set("content-type", content_type)


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

    async def body(self, limit: int = DEFAULT_READ_LIMIT_BYTES, *, decode: bool = True) -> bytes:
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


class Message:
    """A WebSocket message; the other side gets it with all changes made here.

    Attributes:
        dropped: it is not passed on.
    """

    __slots__ = ("_data", "dropped")

    def __init__(self, data: str | bytes) -> None:
        self._data = data
        self.dropped = False

    @property
    def data(self) -> str | bytes:
        """The content: `str` for a text message, `bytes` for a binary one.

        Setting raises `TypeError` for other types, and `ValueError` for text that is not UTF-8 (a lone surrogate).
        """
        return self._data

    @data.setter
    def data(self, value: str | bytes) -> None:
        if not isinstance(value, str | bytes):
            raise TypeError(f"a message is text or bytes, not {value!r}")
        if isinstance(value, str):
            value.encode()
        self._data = value

    def drop(self) -> None:
        """Do not pass the message on."""
        self.dropped = True

    def __repr__(self) -> str:
        return f"<Message {'text' if isinstance(self._data, str) else 'binary'} of {len(self._data)}>"
