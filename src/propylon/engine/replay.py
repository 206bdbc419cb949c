"""A request body that is kept while it is sent, so that it can be sent to another endpoint as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from propylon.engine.body import Body, BodySink
    from propylon.http.headers import Pair


class Replay:
    """Stands between a body under way and the connection that takes it.

    Attributes:
        whole: whether everything that has arrived is still here.
    """

    __slots__ = ("_body", "_ended", "_kept", "_room", "_sink", "_waiting", "whole")

    def __init__(self, limit: int) -> None:
        """Keep `limit` bytes at the most; a larger body is sent only once."""
        self._room = limit
        self._kept: list[bytes] = []
        self._body: Body | None = None
        self._sink: BodySink | None = None
        self._ended: list[Pair] | None = None
        self._waiting = False
        self.whole = True

    def pipe(self, body: Body, sink: BodySink) -> None:
        """Send what has arrived of `body` so far to `sink`, and what follows too."""
        self._sink = sink
        if self._body is None:
            self._body = body
            body.pipe(self)
            return
        for data in self._kept:
            sink.write_body(data)
        if self._ended is not None:
            sink.end_body(self._ended)
        self._go_on()

    def wait(self) -> None:
        """Send to nobody until the next `pipe`, and let no more come until then."""
        self._sink = None
        if self._body is not None and not self._waiting:
            self._waiting = True
            self._body.source.hold(self)

    def unplug(self) -> None:
        """Send to nobody from now on."""
        self._sink = None
        self._go_on()

    def write_body(self, data: bytes) -> None:
        """Take a piece."""
        if self.whole:
            self._room -= len(data)
            self._kept.append(data)
            if not self._waiting:  # what comes before the hold works was sent to nobody yet, so it must stay
                self._forget_if_too_large()
        if self._sink is not None:
            self._sink.write_body(data)

    def end_body(self, trailers: list[Pair]) -> None:
        """Take the end."""
        self._ended = trailers
        if self._sink is not None:
            self._sink.end_body(trailers)

    def _go_on(self) -> None:
        if self._waiting and self._body is not None:
            self._waiting = False
            self._forget_if_too_large()
            self._body.source.release(self)

    def _forget_if_too_large(self) -> None:
        if self._room < 0:
            self.whole = False
            self._kept.clear()
