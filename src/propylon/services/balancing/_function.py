"""A function of somebody else's that a balancing algorithm asks: how it is found and called."""

from __future__ import annotations

from inspect import iscoroutine, iscoroutinefunction
from time import monotonic
from typing import TYPE_CHECKING, Any

from propylon.config.reference import import_object
from propylon.config.schema.key import NO_ASYNC
from propylon.engine.errors import GatewayError
from propylon.engine.hook_task import BLOCKING_SECONDS, blocked
from propylon.engine.pipeline import failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.exchange import Exchange


class Function:
    """A function that answers at once, and whose mistakes end one exchange and nothing else."""

    __slots__ = ("_call", "_name")

    def __init__(self, function: str | Callable[..., Any]) -> None:
        """Import what is named.

        Raises:
            ImportError, AttributeError: there is no such module, or nothing of that name in it.
            TypeError: it is no function, or async.
        """
        self._call: Any = import_object(function) if isinstance(function, str) else function
        self._name = f"balance: {getattr(self._call, '__name__', function)}"
        if not callable(self._call) or isinstance(self._call, type):
            raise TypeError(f"{function} is no function")
        if iscoroutinefunction(self._call):
            raise TypeError(f"{function}: {NO_ASYNC}")

    def ask(self, x: Exchange, *rest: object) -> Any:
        """Return its answer.

        Raises:
            GatewayError: request.policy_failed if it raises anything but a `GatewayError`.
        """
        begun = monotonic()
        try:
            answer = self._call(x, *rest)
        except GatewayError:
            raise
        except Exception as error:  # it is code of others
            raise failed(x, self._name, "request.policy_failed", error) from error
        if (took := monotonic() - begun) > BLOCKING_SECONDS:
            blocked(self._name, took)
        return answer

    def wrong(self, answer: object, expected: str) -> GatewayError:
        """Return the error for an answer that is of no use."""
        if iscoroutine(answer):
            answer.close()  # nobody will await it
        return GatewayError("request.policy_failed", log=f"{self._name} returned {answer!r} instead of {expected}")
