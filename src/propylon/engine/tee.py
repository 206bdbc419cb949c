"""Copies a request with its body while the body is sent to its service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.engine.body import Body
from propylon.engine.subrequest import Subrequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.errors import GatewayError
    from propylon.engine.exchange import Exchange
    from propylon.http.headers import Pair


class Tee:
    """Keeps a copy of a body under way: all of it, or nothing."""

    __slots__ = ("_body", "_done", "_kept", "_room")

    def __init__(self, body: Body, limit: int, done: Callable[[bytes | None], None]) -> None:
        """Start to copy `body`.

        Args:
            limit: most bytes to keep.
            done: called once: with the body, or with `None` if it is too large or incomplete.
        """
        self._body = body
        self._room = limit
        self._done: Callable[[bytes | None], None] | None = done
        self._kept: list[bytes] = []
        body.tap(self)

    def write_body(self, data: bytes) -> None:
        """Keep a piece."""
        self._room -= len(data)
        self._kept.append(data)
        if self._room < 0:
            self.cancel()

    def end_body(self, trailers: list[Pair]) -> None:
        """Finish the copy; trailers are dropped."""
        self._finish(b"".join(self._kept))

    def fail_body(self, error: GatewayError) -> None:
        """Drop the copy."""
        self._finish(None)

    def cancel(self) -> None:
        """Drop the copy."""
        self._finish(None)

    def _finish(self, body: bytes | None) -> None:
        done, self._done = self._done, None
        self._kept = []
        self._body.untap(self)
        if done is not None:
            done(body)


def copy_request(x: Exchange, limit: int, ready: Callable[[Subrequest | None], None]) -> None:
    """Copy the request of an exchange with its body.

    Args:
        limit: most bytes of a body to copy.
        ready: called once, now or at the end of the body: with the copy, which is not sent yet, or with `None` if the
            body is too large or incomplete.
    """
    body = x.body
    if body is not None and _size(body) > limit:
        ready(None)
        return
    own = Subrequest.of(x)
    if isinstance(body, Body) and not body.ended:

        def done(kept: bytes | None) -> None:
            own.exchange.body = kept
            ready(None if kept is None else own)

        x.defer(Tee(body, limit, done).cancel)
    else:
        own.exchange.body = body.held() if isinstance(body, Body) else body
        ready(own)


def _size(body: bytes | Body) -> int:
    return max(body.size, body.length) if isinstance(body, Body) else len(body)
