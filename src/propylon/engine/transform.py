"""Chunk hooks of policies, between the source of a body and its sink.

A hook gets each piece and returns its replacement. After the last piece it is called once more with `b""`, and returns
the end of the body. During an async hook the following pieces wait in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

from propylon.engine.errors import GatewayError
from propylon.engine.hook_task import check_blocking, is_awaitable, start_task
from propylon.engine.pipeline import NamedHook, failed

if TYPE_CHECKING:
    from propylon.engine.body import BodySink, BodySource
    from propylon.engine.exchange import Exchange
    from propylon.http.headers import Pair


class Transform:
    """The sink of a body, which passes the pieces through hooks to another sink.

    Attributes:
        ended: the end has been passed on.
        source: of the body.

    Work is a queue of `(hook number, piece, last)`: a hook's result is put in front for the next hook.
    """

    def __init__(self, x: Exchange, hooks: tuple[NamedHook, ...], source: BodySource, sink: BodySink) -> None:
        self._exchange = x
        self._hooks = hooks
        self.source = source
        self._sink = sink
        self._work: deque[tuple[int, bytes, bool]] = deque()
        self._task: asyncio.Task[Any] | None = None
        self.ended = False

    def write_body(self, data: bytes) -> None:
        """Pass a piece through the hooks."""
        self._work.append((0, data, False))
        self._process()

    def end_body(self, trailers: list[Pair]) -> None:
        """Pass the end through the hooks. Trailers are dropped: they belong to the unchanged body."""
        self._work.append((0, b"", True))
        self._process()

    def cancel(self) -> None:
        """Cancel an async hook, at the end of the exchange."""
        self._work.clear()
        self._exchange.disarm_policy(self)
        if self._task is not None:
            self._task.cancel()

    def _process(self) -> None:
        if self._task is not None:
            return  # the source is held: only data that it had read before arrives
        while self._work and self._task is None:
            number, data, last = self._work.popleft()
            if number < len(self._hooks):
                self._run(number, data, last)
            elif last:
                self.ended = True
                self._sink.end_body([])
                self._exchange.notify()
            else:
                self._sink.write_body(data)

    def _run(self, number: int, data: bytes, last: bool) -> None:
        hook, name = self._hooks[number]
        begun = monotonic()
        try:
            result = hook(self._exchange, data)
        except (Exception, asyncio.CancelledError) as error:
            self._fail(name, error)
            return
        finally:
            check_blocking(name, begun, self._exchange)
        if is_awaitable(result):
            self.source.hold(self)
            self._exchange.arm_policy(self)
            self._task = start_task(result, name, self._exchange)
            self._task.add_done_callback(lambda task: self._resume(task, number, last))
        else:
            self._take(number, result, last)

    def _resume(self, task: asyncio.Task[Any], number: int, last: bool) -> None:
        self._task = None
        self._exchange.disarm_policy(self)
        if task.cancelled() or self._exchange.finished:
            return
        error = task.exception()
        if error is not None:
            self._fail(self._hooks[number][1], error)
            return
        self._take(number, task.result(), last)
        self._process()
        if self._task is None:
            self.source.release(self)

    def _take(self, number: int, data: object, last: bool) -> None:
        """Put a hook's result in front, for the next hook."""
        if not isinstance(data, bytes):
            name = self._hooks[number][1]
            self._fail(name, TypeError(f"policy {name} returned {data!r} for a piece of a body: it returns bytes"))
            return
        if last:
            self._work.appendleft((number + 1, b"", True))
        if data:
            self._work.appendleft((number + 1, data, False))

    def _fail(self, name: str, error: BaseException) -> None:
        self._work.clear()
        if not isinstance(error, GatewayError):
            error = failed(self._exchange, name, "response.policy_failed", error)
        self._exchange.fail(error)
