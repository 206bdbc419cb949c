"""The last failures of an endpoint or service, by name, for the line that tells what they led to: a few words.

row = remembered(row, "connect.refused")
in_a_row(5, row)                          # 5 failures in a row (3x connect.refused, 2x status 503)
"""

from __future__ import annotations

from typing import Final

KEPT: Final = 5

Recent = tuple[str, ...]


def remembered(recent: Recent, failure: str) -> Recent:
    """Return the last failures with one more: the code of a failure, or a status."""
    return (*recent[1 - KEPT :], failure) if failure else recent


def named(recent: Recent, count: int | None = None) -> str:
    """Return the names of the last `count` failures, in parentheses; an empty string for none.

    Args:
        count: how many failures are told of; `None` for more than are kept.
    """
    last = recent if count is None else recent[-count:]
    names = [(name, last.count(name)) for name in dict.fromkeys(last)]
    if not names:
        return ""
    listed = ", ".join(f"{times}x {name}" if times > 1 else name for name, times in names)
    more = count is None or count > len(last)
    return f" (the last {len(last)}: {listed})" if more else f" ({listed})"


def in_a_row(count: int, recent: Recent) -> str:
    """Return how many failures followed each other, with their names."""
    return f"{count} failure{'s' if count > 1 else ''} in a row{named(recent, count)}"
