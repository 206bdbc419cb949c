"""A request body that is kept while it is sent, so that it can be sent again to another endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from propylon.engine.body import Body, BodySink
    from propylon.http.headers import Pair


class Replay:
    """A sink that keeps a body under way and passes it on to an upstream.

    Attributes:
        complete: whether all that has arrived is still kept.
    """

    __slots__ = ("_body", "_ended", "_kept", "_room", "_sink", "_suspended", "complete")

    def __init__(self, limit: int) -> None:
        """Keep at most `limit` bytes; a larger body is sent only once."""
        self._room = limit
        self._kept: list[bytes] = []
        self._body: Body | None = None
        self._sink: BodySink | None = None
        self._ended: list[Pair] | None = None
        self._suspended = False
        self.complete = True

    def pipe(self, body: Body, sink: BodySink) -> None:
        """Send what has arrived of `body`, and what follows, to `sink`."""
        self._sink = sink
        if self._body is None:
            self._body = body
            body.pipe(self)
            return
        for data in self._kept:
            sink.write_body(data)
        if self._ended is not None:
            sink.end_body(self._ended)
        self._resume()

    def suspend(self) -> None:
        """Detach the sink, and hold the body's source until the next `pipe`."""
        self._sink = None
        if self._body is not None and not self._suspended:
            self._suspended = True
            self._body.source.hold(self)

    def detach(self) -> None:
        """Detach the sink, and release the body's source."""
        self._sink = None
        self._resume()

    def write_body(self, data: bytes) -> None:
        """Keep a piece, and pass it on."""
        if self.complete:
            self._room -= len(data)
            self._kept.append(data)
            if not self._suspended:  # pieces that arrive after the hold were not sent yet, so they must be kept
                self._drop_if_too_large()
        if self._sink is not None:
            self._sink.write_body(data)

    def end_body(self, trailers: list[Pair]) -> None:
        """Keep the end, and pass it on."""
        self._ended = trailers
        if self._sink is not None:
            self._sink.end_body(trailers)

    def _resume(self) -> None:
        if self._suspended and self._body is not None:
            self._suspended = False
            self._drop_if_too_large()
            self._body.source.release(self)

    def _drop_if_too_large(self) -> None:
        if self._room < 0:
            self.complete = False
            self._kept.clear()
