"""Keeps the endpoints of a service up to date: runs a provider, validates its lists, restarts it.

Rules of the file:

- The last valid list is kept whatever happens to the provider: an error, an end, a list without any usable endpoint.
- An empty list is applied, as by the contract of `Provider.watch` it means "there are none": a provider that cannot
  distinguish that from a failure (an empty DNS answer) raises instead.
- `apply` is called only with a list that differs from the last one. Lists are read at most every `MIN_INTERVAL_S`, and
  long ones less often, so a provider that never waits cannot block the event loop.
- Changes are logged, and each cause of failure once, not for each retry.
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
"""Maximum share of time spent on lists: one of 10,000 endpoints takes some tenths of a second."""
FIRST_RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 60.0
CLOSE_TIMEOUT_S: Final = 5.0
"""Maximum seconds for a provider to end."""
REPEAT_S: Final = 600.0
"""Seconds until a recurring cause is logged again."""
_MAX_CAUSES: Final = 16
_MAX_CAUSE: Final = 400
_MAX_PROBLEMS: Final = 5

Apply = Callable[[tuple[EndpointSpec, ...]], None]


class Watch:
    """Runs one provider for one service, in one Task."""

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
        """Create a watch; nothing runs before `start`.

        Args:
            provider: the provider to run.
            apply: called with each new list, in the event loop; must not block.
            name: name of the service in the log.
            clock: monotonic seconds.
            sleep: waits a number of seconds.
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
        self._failure_logged = False
        self._first = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "no list yet" if self._found is None else f"{len(self._found)} endpoints"
        return f"<Watch {self._name}, {state}>"

    @property
    def found(self) -> tuple[EndpointSpec, ...] | None:
        """The last valid list; None before the first one."""
        return self._found

    @property
    def problem(self) -> str | None:
        """The current failure of the provider, for the operator; None while it works."""
        return self._problem

    def start(self) -> None:
        """Start the provider, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"discovery {self._name}")

    async def first(self, timeout: float) -> bool:
        """Wait for the first list, at most `timeout` seconds; return whether there is one."""
        try:
            async with asyncio.timeout(timeout):
                await self._first.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Stop the provider and wait for its end, at most `CLOSE_TIMEOUT_S`."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait((task,), timeout=CLOSE_TIMEOUT_S)
        if not task.done():
            log.warning("%s: its provider does not end within %g s", self._name, CLOSE_TIMEOUT_S)

    async def _run(self) -> None:
        # A cancelled provider may raise another error or yield one more list: both are ignored.
        while True:
            error: Exception | None = None
            try:
                await self._watch_once()
                cause = "the provider ended"
            except asyncio.CancelledError:
                cause = "the provider was cancelled from within"
            except DiscoveryError as failure:
                cause = str(failure) or "the provider says nothing about it"
            except Exception as exception:  # a provider may be user code
                cause, error = f"{type(exception).__name__}: {exception}", exception
            if _is_cancelled():
                return
            self._failed(cause, error)
            await self._sleep(self._retry_delay())

    async def _watch_once(self) -> None:
        """Apply lists until the provider ends or fails, and close its iterator."""
        lists: AsyncIterator[Sequence[EndpointSpec]] = self._provider.watch()
        try:
            async for listed in lists:
                if _is_cancelled():
                    return
                started = self._clock()
                self._update(listed)
                await self._sleep(max(MIN_INTERVAL_S, (self._clock() - started) / MAX_SHARE))
        finally:
            # An iterator that is no generator may have no `aclose`.
            close = getattr(lists, "aclose", None)
            if close is not None:
                await close()

    def _update(self, listed: Sequence[EndpointSpec]) -> None:
        found, problems = self._checker.check(listed)
        self._log_problems(problems)
        if problems and not found:
            raise DiscoveryError(f"none of the {len(problems)} endpoints that were found can be used")
        if found != self._found:
            self._apply(found)
            if self._found is None:
                log.info("%s: found %s", self._name, changes((), found) or "no endpoints")
            else:
                log.info("%s: %s", self._name, changes(self._found, found))
            self._found = found
        self._succeeded()
        self._first.set()

    def _log_problems(self, problems: list[str]) -> None:
        """Log the problems of this list that the last one did not have."""
        new = [problem for problem in problems if problem not in self._problems]
        self._problems = frozenset(problems)
        if new:
            more = f" (and {len(new) - _MAX_PROBLEMS} more)" if len(new) > _MAX_PROBLEMS else ""
            log.warning("%s: left out: %s%s", self._name, "; ".join(new[:_MAX_PROBLEMS]), more)

    def _succeeded(self) -> None:
        if self._problem is not None and self._found is not None and self._failure_logged:
            log.info("%s: discovery works again, %d endpoints", self._name, len(self._found))
        self._failures = 0
        self._problem = None

    def _failed(self, cause: str, error: Exception | None = None) -> None:
        if self._problem is None:
            self._failure_logged = False
            now = self._clock()
            self._causes = {text: logged_at for text, logged_at in self._causes.items() if now - logged_at < REPEAT_S}
        self._problem = cause = shown(cause, _MAX_CAUSE)
        self._failures += 1
        if cause in self._causes or len(self._causes) >= _MAX_CAUSES:
            return
        self._causes[cause] = self._clock()
        self._failure_logged = True
        kept = "there are no endpoints yet" if self._found is None else f"the last {len(self._found)} endpoints stay"
        log.warning("%s: discovery fails: %s; %s", self._name, cause, kept, exc_info=error)

    def _retry_delay(self) -> float:
        """Return seconds: doubled with each consecutive failure, half of it random, so that retries do not synchronize.

        Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("equal jitter").
        """
        delay: float = min(FIRST_RETRY_S * 2.0 ** min(self._failures - 1, 16), MAX_RETRY_S)
        return delay / 2 + self._random() * delay / 2


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
