"""User functions called by balancing algorithms: import, call and errors."""

from __future__ import annotations

from inspect import iscoroutine, iscoroutinefunction
from time import monotonic
from typing import TYPE_CHECKING, Any

from propylon.config.reference import import_object
from propylon.config.schema.key import NO_ASYNC
from propylon.engine.errors import GatewayError
from propylon.engine.hook_task import check_blocking
from propylon.engine.lines import name_of
from propylon.engine.pipeline import failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.exchange import Exchange


class Function:
    """A synchronous user function; an exception in it fails one exchange only."""

    __slots__ = ("_call", "_name")

    def __init__(self, function: str | Callable[..., Any]) -> None:
        """Import the function.

        Raises:
            ImportError, AttributeError: the module, or the name in it, does not exist.
            TypeError: it is not a function, or async.
        """
        self._call: Any = import_object(function) if isinstance(function, str) else function
        self._name = f"balance: {function if isinstance(function, str) else name_of(function)}"
        if not callable(self._call) or isinstance(self._call, type):
            raise TypeError(f"{function} is no function")
        if iscoroutinefunction(self._call):
            raise TypeError(f"{function}: {NO_ASYNC}")

    def call(self, x: Exchange, *arguments: object) -> Any:
        """Return the result of the function.

        Raises:
            GatewayError: request.policy_failed if it raises anything but a `GatewayError`.
        """
        started = monotonic()
        try:
            result = self._call(x, *arguments)
        except GatewayError:
            raise
        except Exception as error:  # user code
            raise failed(x, self._name, "request.policy_failed", error) from error
        finally:
            check_blocking(self._name, started, x)
        return result

    def invalid(self, result: object, expected: str) -> GatewayError:
        """Return the error for an invalid result."""
        if iscoroutine(result):
            result.close()  # avoids the warning that it was never awaited
        return GatewayError("request.policy_failed", log=f"{self._name} returned {result!r} instead of {expected}")
