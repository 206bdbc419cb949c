"""Conditional requests and validators, without I/O (RFC 9110, sections 8.8 and 13).

Rules of the file: a field that cannot be parsed is ignored, where RFC 9110 allows it; dates have a resolution of one
second, so a Last-Modified alone never proves that two representations are the same to the byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from propylon.http.headers import Headers

_TAG: Final = re.compile(r'(W/)?("[!\x23-\x7e\x80-\xff]*")')
# RFC 9110 5.6.7: one form to send, and two that only old senders write.
_DATE: Final = re.compile(
    r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT"
    r"|[A-Z][a-z]+day, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}"
)


@dataclass(frozen=True, slots=True)
class Validators:
    """The validators of a selected representation.

    Attributes:
        etag: as in the field, `"x"` or `W/"x"`; empty for none.
        modified: seconds since the epoch; `None` if unknown.
    """

    etag: str = ""
    modified: int | None = None

    @property
    def last_modified(self) -> str:
        """The value of Last-Modified; empty if unknown."""
        return "" if self.modified is None else formatdate(self.modified, usegmt=True)


def parse_date(value: str) -> int | None:
    """Return the seconds since the epoch of an HTTP-date; `None` if it is not one (RFC 9110 5.6.7)."""
    if _DATE.fullmatch(value) is None:
        return None
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return int((date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp())


def precondition(method: str, fields: Headers, now: Validators) -> int:
    """Evaluate the preconditions of a request for an existing representation (RFC 9110 13.2.2).

    Args:
        fields: the header section of the request.
        now: the validators of the representation.

    Returns:
        200 to go on, 304, or 412.
    """
    if (wanted := fields.get("if-match")) is not None:
        fails = not _matches(wanted, now.etag, weak=False)
    else:
        limit = _date(fields, "if-unmodified-since")
        fails = limit is not None and now.modified is not None and now.modified > limit
    if fails:
        return 412
    reads = method in ("GET", "HEAD")
    if (known := fields.get("if-none-match")) is not None:
        same = _matches(known, now.etag, weak=True)
        return (304 if reads else 412) if same else 200
    since = _date(fields, "if-modified-since") if reads else None
    return 304 if since is not None and now.modified is not None and now.modified <= since else 200


def range_applies(fields: Headers, now: Validators) -> bool:
    """Return whether the Range of a request may be served: `If-Range` is absent or matches (RFC 9110 13.1.5)."""
    condition = fields.get("if-range")
    if condition is None:
        return True
    if _TAG.fullmatch(condition):
        return condition == now.etag and not condition.startswith("W/")
    return False  # a date is a weak validator here: two changes in one second have the same


def _date(fields: Headers, name: str) -> int | None:
    value = fields.get(name)
    return None if value is None else parse_date(value)


def _matches(listed: str, etag: str, *, weak: bool) -> bool:
    if listed.strip() == "*":
        return True
    opaque = etag.removeprefix("W/")
    if not opaque or (not weak and etag != opaque):
        return False
    return any(found[2] == opaque and (weak or not found[1]) for found in _TAG.finditer(listed))
