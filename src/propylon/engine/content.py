"""Content codings for policies: bodies that are read or changed are decoded, and what described the old one is dropped.

A body that no policy reads is passed on as it came, in its coding. For one that may be read, the service is asked only
for codings that the gateway can decode; one that is changed piece by piece is asked for without any.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from propylon.engine.body import Body
from propylon.engine.decoded_body import DecodedBody
from propylon.engine.errors import GatewayError
from propylon.http.content_coding import (
    CodingError,
    ContentDecoder,
    ExpandsTooMuchError,
    UnknownCodingError,
    acceptable,
    codings_of,
    supported,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from propylon.engine.exchange import Exchange
    from propylon.http.headers import Headers

READ_LIMIT_BYTES: Final = 1024 * 1024  # default limit of `body()`, which holds the body in memory
TURN_BYTES: Final = 1024 * 1024  # decoded in one turn of the event loop
READ_BYTES: Final = 64 * 1024  # of input decoded in one turn: what expands to nothing takes time, too
CODING: Final = "content-encoding"

DESCRIBES_CONTENT: Final = frozenset(
    (
        b"content-encoding", b"content-range", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"etag",
        b"last-modified", b"accept-ranges",
    )
)  # fmt: skip
"""Fields that describe the bytes of a body or validate them (RFC 9110 8.4, 8.8, 14, RFC 9530)."""


class Reading:
    """How the bodies of requests or responses are read, with the codes of their failures."""

    __slots__ = ("_kind",)

    def __init__(self, kind: str) -> None:
        """`kind`: request or response."""
        self._kind = kind

    def decoder(self, headers: Headers) -> ContentDecoder | None:
        """Return the decoder of a message's body; `None` for one without content coding.

        Raises:
            GatewayError: a coding that cannot be decoded.
        """
        codings = codings_of(headers.get_all(CODING))
        if not codings:
            return None
        try:
            return ContentDecoder(codings)
        except UnknownCodingError as error:
            raise self.failure(error) from None

    def failure(self, error: CodingError) -> GatewayError:
        """Return the failure for an error of decoding."""
        large = isinstance(error, ExpandsTooMuchError)
        if self._kind == "response":  # of no concern to the client
            return GatewayError("response.body_too_large" if large else "response.undecodable", log=str(error))
        if isinstance(error, UnknownCodingError):  # RFC 9110 15.5.16
            accepted = {"accept-encoding": ", ".join(supported())}
            return GatewayError("request.unsupported_coding", str(error), headers=accepted)
        return GatewayError("request.body_too_large" if large else "request.undecodable", str(error))

    def raw_limit(self, headers: Headers, limit: int) -> int:
        """Return the limit of a body as it arrives, for `limit` decoded bytes: incompressible data grows a little."""
        return limit + limit // 64 + 1024 if CODING in headers else limit

    def pieces(self, decoder: ContentDecoder | None, data: bytes) -> Iterator[bytes]:
        """Return what a piece of a body decodes to. Raises `GatewayError`."""
        if decoder is None:
            yield data
            return
        try:
            yield from decoder.feed(data)
        except CodingError as error:
            raise self.failure(error) from None

    def end(self, decoder: ContentDecoder | None) -> None:
        """Check that a body is complete. Raises `GatewayError`."""
        try:
            if decoder is not None:
                decoder.end()
        except CodingError as error:
            raise self.failure(error) from None

    async def decode(self, headers: Headers, data: bytes, limit: int) -> bytes:
        """Decode a complete body; an empty one has no coding. For async policies only.

        Raises:
            GatewayError: more than `limit` bytes, a coding that cannot be decoded, invalid data.
        """
        decoder = self.decoder(headers) if data else None
        if decoder is None:
            return data
        found: list[bytes] = []
        size, turn = 0, TURN_BYTES
        for start in range(0, len(data), READ_BYTES):
            for piece in self.pieces(decoder, data[start : start + READ_BYTES]):
                size += len(piece)
                if size > limit:
                    raise GatewayError(f"{self._kind}.body_too_large", f"the body is larger than {limit} bytes")
                found.append(piece)
                if size > turn:
                    turn = size + TURN_BYTES
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
        self.end(decoder)
        return b"".join(found)


REQUEST: Final = Reading("request")
RESPONSE: Final = Reading("response")


def prepare_bodies(x: Exchange) -> None:
    """Prepare the request for policies that read or change bodies, before it goes to the service.

    The service is asked only for codings that can be decoded (RFC 9110 12.5.3), and for none with a range: a part of an
    encoded body cannot be decoded. A response that chunk hooks change is asked for as a whole and without coding, as
    its ranges are not those of the service. Hooks that change the request get it decoded.

    Raises:
        GatewayError: request.unsupported_coding.
    """
    pipeline, headers = x.route.pipeline, x.request.headers
    if pipeline.on_response_chunk:
        headers.set("accept-encoding", "identity")
        headers.remove("range")
        headers.remove("if-range")
    elif "range" in headers:
        headers.set("accept-encoding", "identity")
    else:
        limit_accepted(headers)
    if pipeline.on_request_chunk and x.body:
        decoder = REQUEST.decoder(headers)
        headers.remove_all(DESCRIBES_CONTENT)
        if decoder is not None:
            encoded = x.body if isinstance(x.body, Body) else Body.of(x.body)
            x.body = DecodedBody(x, REQUEST, encoded, decoder).body


def limit_accepted(headers: Headers) -> None:
    """Limit Accept-Encoding to what can be decoded."""
    offers = headers.get_all("accept-encoding")
    if offers and (limited := acceptable(offered := ", ".join(offers))) != offered:
        headers.set("accept-encoding", limited)
