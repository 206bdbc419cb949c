"""The log as text on standard error: a record begins at the start of a line, and nothing within it can pose as another.

Tracebacks may contain what a peer has sent, in the message of an exception. So all further lines of a record are
indented, and control characters are written as escapes.
"""

from __future__ import annotations

import logging
import re
from typing import Final

FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
INDENT: Final = "    "

_UNSAFE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class TextFormatter(logging.Formatter):
    """Formats records as lines of text."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record, without the last line end."""
        text = super().format(record)
        if "\n" in text:
            text = text.replace("\n", f"\n{INDENT}")
        return text if text.isprintable() else _UNSAFE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
