"""Keeps the list of a service's endpoints up to date: runs a provider, believes it with care, starts it again.

Rules of the file:

- The last good list stays whatever happens to the provider: an error, an end, an answer of which nothing can be used.
- An empty list is believed, as the contract of `Provider.watch` says that it means "there are none": a provider that
  cannot tell "none" from "I do not know" (an empty DNS answer) raises in place of it.
- `apply` gets a list only when it differs from the last one. Lists are taken at most every `MIN_INTERVAL_S`, and long
  ones less often, so a provider that never waits cannot keep the event loop busy.
- The log has what changed, and each cause of failure once, not once for each retry.
"""

from __future__ import annotations

import asyncio
import logging
import random as randomness
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from propylon.services.discovery import DiscoveryError, EndpointSpec, Provider
from propylon.services.endpoint_list import Checker, changes, shown

log = logging.getLogger("propylon.discovery")

MIN_INTERVAL_S: Final = 0.1
"""Seconds between two lists of one provider."""
MAX_SHARE: Final = 0.1
"""Share of the time that taking lists may cost: one of 10,000 endpoints takes some tenths of a second."""
FIRST_RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 60.0
CLOSE_TIMEOUT_S: Final = 5.0
"""Seconds a provider may take to end."""
REPEAT_S: Final = 600.0
"""Seconds until a cause that comes and goes is logged again."""
_MAX_CAUSES: Final = 16
_MAX_CAUSE: Final = 400
_MAX_PROBLEMS: Final = 5

Apply = Callable[[tuple[EndpointSpec, ...]], None]


class Watch:
    """Watches one provider for one service, in one Task."""

    def __init__(
        self,
        provider: Provider,
        apply: Apply,
        *,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        """Make a watch; nothing runs before `start`.

        Args:
            provider: what finds the endpoints.
            apply: takes a new list; it is called in the event loop and must not wait.
            name: the service as the log names it.
            clock: monotonic seconds.
            sleep: waits some seconds.
            random: a number from 0 to 1, for the jitter of retries.
        """
        self._provider = provider
        self._apply = apply
        self._name = name
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._checker = Checker()
        self._found: tuple[EndpointSpec, ...] | None = None
        self._problems: frozenset[str] = frozenset()
        self._causes: dict[str, float] = {}
        self._failures = 0
        self._problem: str | None = None
        self._was_told = False
        self._first = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "no list yet" if self._found is None else f"{len(self._found)} endpoints"
        return f"<Watch {self._name}, {state}>"

    @property
    def found(self) -> tuple[EndpointSpec, ...] | None:
        """The last good list; None before the first one."""
        return self._found

    @property
    def problem(self) -> str | None:
        """Why the provider does not work at the moment, for the operator; None while it does."""
        return self._problem

    def start(self) -> None:
        """Begin to watch, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"discovery {self._name}")

    async def first(self, timeout: float) -> bool:
        """Wait for the first list, `timeout` seconds at the most; return whether there is one."""
        try:
            async with asyncio.timeout(timeout):
                await self._first.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End the provider and wait for its end, `CLOSE_TIMEOUT_S` at the most."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait((task,), timeout=CLOSE_TIMEOUT_S)
        if not task.done():
            log.warning("%s: its provider does not end within %g s", self._name, CLOSE_TIMEOUT_S)

    async def _run(self) -> None:
        # A provider may answer its cancellation with an error of its own, or with one more list: neither goes on.
        while True:
            error: Exception | None = None
            try:
                await self._watch_once()
                cause = "the provider ended"
            except asyncio.CancelledError:
                cause = "the provider was cancelled from within"
            except DiscoveryError as known:
                cause = str(known) or "the provider says nothing about it"
            except Exception as unknown:  # a provider may be anybody's code
                cause, error = f"{type(unknown).__name__}: {unknown}", unknown
            if _is_cancelled():
                return
            self._failed(cause, error)
            await self._sleep(self._retry_delay())

    async def _watch_once(self) -> None:
        """Take lists until the provider ends or fails, and leave nothing of it running."""
        lists: AsyncIterator[Sequence[EndpointSpec]] = self._provider.watch()
        try:
            async for listed in lists:
                if _is_cancelled():
                    return
                begun = self._clock()
                self._take(listed)
                await self._sleep(max(MIN_INTERVAL_S, (self._clock() - begun) / MAX_SHARE))
        finally:
            # An iterator that is no generator may have nothing to close.
            close = getattr(lists, "aclose", None)
            if close is not None:
                await close()

    def _take(self, listed: Sequence[EndpointSpec]) -> None:
        found, problems = self._checker.check(listed)
        self._tell_problems(problems)
        if problems and not found:
            raise DiscoveryError(f"none of the {len(problems)} endpoints that were found can be used")
        if found != self._found:
            self._apply(found)
            if self._found is None:
                log.info("%s: %d endpoints: %s", self._name, len(found), changes((), found) or "none")
            else:
                log.info("%s: %s", self._name, changes(self._found, found))
            self._found = found
        self._succeeded()
        self._first.set()

    def _tell_problems(self, problems: list[str]) -> None:
        """Log what is wrong with endpoints of this list, except for what was wrong with the last one too."""
        new = [problem for problem in problems if problem not in self._problems]
        self._problems = frozenset(problems)
        if new:
            more = f" (and {len(new) - _MAX_PROBLEMS} more)" if len(new) > _MAX_PROBLEMS else ""
            log.warning("%s: left out: %s%s", self._name, "; ".join(new[:_MAX_PROBLEMS]), more)

    def _succeeded(self) -> None:
        if self._problem is not None and self._found is not None and self._was_told:
            log.info("%s: discovery works again, %d endpoints", self._name, len(self._found))
        self._failures = 0
        self._problem = None

    def _failed(self, cause: str, error: Exception | None = None) -> None:
        if self._problem is None:
            self._was_told = False
            now = self._clock()
            self._causes = {known: told for known, told in self._causes.items() if now - told < REPEAT_S}
        self._problem = cause = shown(cause, _MAX_CAUSE)
        self._failures += 1
        if cause in self._causes or len(self._causes) >= _MAX_CAUSES:
            return
        self._causes[cause] = self._clock()
        self._was_told = True
        kept = "there are no endpoints yet" if self._found is None else f"the last {len(self._found)} endpoints stay"
        log.warning("%s: discovery fails: %s; %s", self._name, cause, kept, exc_info=error)

    def _retry_delay(self) -> float:
        """Return seconds: doubled with each failure in a row, and half of it by chance, so that not all come at once.

        Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("equal jitter").
        """
        delay: float = min(FIRST_RETRY_S * 2.0 ** min(self._failures - 1, 16), MAX_RETRY_S)
        return delay / 2 + self._random() * delay / 2


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
