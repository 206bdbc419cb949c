"""The request of an exchange, for policies: a view that costs nothing until it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.engine.body import Body
from propylon.engine.content import DESCRIBES_CONTENT, READ_LIMIT_BYTES, REQUEST
from propylon.engine.errors import GatewayError
from propylon.http import query as http_query
from propylon.http.headers import TOKEN, Headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from propylon.engine.exchange import Exchange
    from propylon.engine.spool import BodyFile


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

    async def body(self, limit: int = READ_LIMIT_BYTES, *, decode: bool = True) -> bytes:
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
