"""Byte ranges (RFC 9110, section 14)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_ONE: Final = re.compile(r"bytes=[ \t]*(\d*)-(\d*)[ \t]*", re.IGNORECASE | re.ASCII)
_MAX_DIGITS: Final = 18


class Range(NamedTuple):
    """Bytes `first` to `last` of a representation, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.last - self.first + 1

    def content_range(self, size: int) -> str:
        """Return the value of Content-Range, for a representation of `size` bytes."""
        return f"bytes {self.first}-{self.last}/{size}"


class UnsatisfiableRange(ValueError):
    """No byte of the representation is in the range: 416."""


def parse_range(value: str | None, size: int) -> Range | None:
    """Return the range that a Range field asks for; `None` to send the whole representation.

    That is the answer to no field, to an invalid one, to another unit, and to several ranges, which a server may ignore
    (RFC 9110 14.2): they are an old way to make a server do much for one request.

    Args:
        value: of the field.
        size: of the representation, in bytes.

    Raises:
        UnsatisfiableRange: the range begins after the last byte.
    """
    found = _ONE.fullmatch(value or "")
    if found is None or max(len(found[1]), len(found[2])) > _MAX_DIGITS:
        return None
    first, last = found[1], found[2]
    if not first:
        if not last:
            return None
        if int(last) == 0 or size == 0:
            raise UnsatisfiableRange
        return Range(max(0, size - int(last)), size - 1)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise UnsatisfiableRange
    return Range(int(first), min(int(last), size - 1) if last else size - 1)
