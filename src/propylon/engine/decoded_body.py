"""A body with a content coding, decoded in front of chunk hooks: no faster than they and the receiver take it.

What one read of a socket expands to can be 250 times as much. So while the decoded body is held, nothing is decoded,
and the source of the encoded one is held.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from propylon.engine.content import Reading
    from propylon.engine.exchange import Exchange
    from propylon.http.content_coding import ContentDecoder
    from propylon.http.headers import Pair


class DecodedBody:
    """The sink of an encoded body, and the source of the decoded one (`BodySink`, `BodySource`).

    Attributes:
        body: the decoded body.
    """

    __slots__ = (
        "_decoder", "_encoded", "_exchange", "_holders", "_over", "_pieces", "_reading", "_running", "_trailers",
        "_waiting", "body",
    )  # fmt: skip

    def __init__(self, x: Exchange, reading: Reading, encoded: Body, decoder: ContentDecoder) -> None:
        self._exchange, self._reading, self._encoded, self._decoder = x, reading, encoded, decoder
        self._waiting: deque[bytes] = deque()  # received, while what came before is not decoded yet
        self._pieces: Iterator[bytes] = iter(())
        self._trailers: list[Pair] | None = None
        self._holders: set[object] = set()
        self._running = self._over = False
        self.body = Body(self)
        x.defer(self._close)

    def body_wanted(self) -> None:
        """Start to decode."""
        self._encoded.pipe(self)

    def hold(self, owner: object) -> None:
        """Stop decoding, until `owner` releases it."""
        if not self._holders:
            self._encoded.source.hold(self)
        self._holders.add(owner)

    def release(self, owner: object) -> None:
        """Decode what waits, then resume the source, if no other owner holds it."""
        self._encoded.source.release(owner)  # it may have held that before
        if owner not in self._holders:
            return
        self._holders.remove(owner)
        self._run()
        if not self._holders:
            self._encoded.source.release(self)

    def write_body(self, data: bytes) -> None:
        """Decode a piece, or keep it."""
        if not self._over:
            self._waiting.append(data)
            self._run()

    def end_body(self, trailers: list[Pair]) -> None:
        """Check the end, once all is decoded."""
        self._trailers = trailers
        self._run()

    def _run(self) -> None:
        """Decode as far as nobody holds."""
        if self._running:
            return  # a receiver has released what it held
        self._running = True
        try:
            while not (self._holders or self._over) and self._step():
                pass
        except GatewayError as error:
            self._over = True
            self._exchange.fail(error)
        finally:
            self._running = False

    def _step(self) -> bool:
        """Return whether there was anything to do."""
        piece = next(self._pieces, None)
        if piece is not None:
            self.body.feed(piece)
        elif self._waiting:
            self._pieces = self._reading.pieces(self._decoder, self._waiting.popleft())
        elif self._trailers is not None:
            self._reading.end(self._decoder)
            self._over = True
            self.body.end(self._trailers)
        else:
            return False
        return True

    def _close(self) -> None:
        self._over = True
        self._waiting.clear()
        self._pieces = iter(())
        self.body.free()
