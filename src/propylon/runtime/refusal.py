"""What a program prints when its gateway cannot start: lines for people, as `propylon run` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from propylon.build.errors import BuildError, StartError
from propylon.config.load import placed
from propylon.config.problems import ConfigError
from propylon.inbound.listener import ListenError
from propylon.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from propylon.config.load import Loaded
    from propylon.config.problems import Problem

EXPECTED: Final = (ConfigError, BuildError, TlsError, ListenError, OSError)
"""Errors that users can mend; any other is a defect, and keeps its traceback."""


def refusal(error: Exception, loaded: Loaded | None) -> str:
    """Return the message for one of the `EXPECTED` errors.

    Args:
        loaded: the configuration, if it could be loaded.
    """
    if isinstance(error, ConfigError):
        return _listed(error.problems)
    if isinstance(error, BuildError) and loaded is not None:
        found = placed(loaded, "gateway", error.messages)
        return "\n".join(map(str, found)) if isinstance(error, StartError) else _listed(found)
    return f"cannot run the gateway: {error}"


def _listed(problems: Sequence[Problem]) -> str:
    number = len(problems)
    return "\n".join([*map(str, problems), f"{number} problem{'' if number == 1 else 's'}"])
