"""What a program prints when its gateway cannot start: lines for people, as `propylon run` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from propylon.build.errors import BuildError
from propylon.config.load import placed
from propylon.config.problems import ConfigError
from propylon.inbound.listener import ListenError
from propylon.tls import TlsError

if TYPE_CHECKING:
    from propylon.config.load import Loaded

EXPECTED: Final = (ConfigError, BuildError, TlsError, ListenError, OSError)
"""Errors that users can mend; any other is a defect, and keeps its traceback."""


def refusal(error: Exception, loaded: Loaded | None) -> str:
    """Return the message for one of the `EXPECTED` errors.

    Args:
        loaded: the configuration, if it could be loaded.
    """
    if isinstance(error, ConfigError):
        number = len(error.problems)
        return "\n".join([*map(str, error.problems), f"{number} problem{'' if number == 1 else 's'}"])
    if isinstance(error, BuildError) and loaded is not None:
        return str(placed(loaded, "gateway", str(error)))
    return f"cannot run the gateway: {error}"
