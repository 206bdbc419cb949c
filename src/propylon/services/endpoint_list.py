"""Validates lists of endpoints from providers: usable endpoints only, without duplicates, in a stable order.

Rules of the file:

- An invalid endpoint does not affect valid ones: it is left out, with a reason.
- The order is by tier and URL. Consul and DNS shuffle their answers, and a shuffled answer is no change.
- Memory and log lines are bounded, whatever a provider returns.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from propylon.address import AddressError, EndpointAddress
from propylon.services.discovery import EndpointSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_ENDPOINTS: Final = 10_000
MAX_WEIGHT: Final = 1000
MAX_PRIORITY: Final = 65535
"""The highest priority of an SRV record (RFC 2782)."""
_MAX_LISTED: Final = 2 * MAX_ENDPOINTS
"""Entries that are read: a list may have duplicates, and that of a Python provider may never end."""
_MAX_ZONE: Final = 255
_MAX_URL: Final = 1024
_MAX_CHANGES: Final = 20
_MAX_SHOWN: Final = 120


class Checker:
    """Checks successive lists of one service."""

    def __init__(self) -> None:
        # URLs of the last list in their canonical spelling: parsing 10,000 of them takes 0.1 s, and few are new.
        self._spellings: dict[str, str] = {}

    def check(self, listed: Iterable[object]) -> tuple[tuple[EndpointSpec, ...], list[str]]:
        """Return the usable endpoints, and a reason for each entry left out.

        Of several entries for one address the one with the lowest priority is used, then the highest weight.
        """
        usable: dict[str, EndpointSpec] = {}
        problems: list[str] = []
        spellings: dict[str, str] = {}
        for each in islice(listed, _MAX_LISTED):
            try:
                found = self._checked(each, spellings)
            except ValueError as error:
                problems.append(str(error))
                continue
            other = usable.get(found.url)
            if other is None or _rank(found) < _rank(other):
                usable[found.url] = found
        self._spellings = spellings
        ordered = sorted(usable.values(), key=lambda found: (found.priority, found.url))
        if len(ordered) > MAX_ENDPOINTS:
            problems.append(f"only {MAX_ENDPOINTS} of the endpoints are used")
        return tuple(ordered[:MAX_ENDPOINTS]), problems

    def _checked(self, each: object, spellings: dict[str, str]) -> EndpointSpec:
        if not isinstance(each, EndpointSpec):
            raise ValueError(f"{shown(repr(each))} is no EndpointSpec")
        if not isinstance(each.url, str) or len(each.url) > _MAX_URL:
            raise ValueError(f"{shown(repr(each.url))} is no URL of at most {_MAX_URL} characters")
        _check_number("weight", each.weight, MAX_WEIGHT, each.url)
        _check_number("priority", each.priority, MAX_PRIORITY, each.url)
        zone = each.zone
        if zone is not None and not (isinstance(zone, str) and 0 < len(zone) <= _MAX_ZONE and zone.isprintable()):
            raise ValueError(
                f"{shown(each.url)}: the zone {shown(repr(zone))} is no text of 1 to {_MAX_ZONE} characters"
            )
        spelling = self._spellings.get(each.url)
        if spelling is None:
            try:
                spelling = str(EndpointAddress.parse(each.url))
            except AddressError as error:
                raise ValueError(shown(str(error), 2 * _MAX_SHOWN)) from None
        spellings[each.url] = spelling
        return each if spelling == each.url else replace(each, url=spelling)


def changes(old: Sequence[EndpointSpec], new: Sequence[EndpointSpec]) -> str:
    """Return the differences: `+http://10.0.0.3:80, -http://10.0.0.1:80, http://10.0.0.2:80 weight 1 -> 3`."""
    before = {found.url: found for found in old}
    after = {found.url: found for found in new}
    parts = [f"+{shown(url)}" for url in after if url not in before]
    parts += [f"-{shown(url)}" for url in before if url not in after]
    for url, found in after.items():
        if url in before and found != before[url]:
            parts.append(f"{shown(url)} {_differences(before[url], found)}")
    more = len(parts) - _MAX_CHANGES
    return ", ".join(parts[:_MAX_CHANGES]) + (f" and {more} more changes" if more > 0 else "")


def shown(text: str, most: int = _MAX_SHOWN) -> str:
    """Return external text as one line for the log: printable, and at most `most` characters."""
    line = " ".join(text.split())
    line = "".join(mark if mark.isprintable() else "?" for mark in line[: most + 1])
    return line if len(line) <= most else line[: most - 3] + "..."


def _rank(found: EndpointSpec) -> tuple[int, int, str]:
    return found.priority, -found.weight, found.zone or ""


def _check_number(what: str, value: object, most: int, url: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"{shown(url)}: the {what} {shown(repr(value))} is no whole number of 0 to {most}")


def _differences(old: EndpointSpec, new: EndpointSpec) -> str:
    pairs = (("weight", old.weight, new.weight), ("priority", old.priority, new.priority), ("zone", old.zone, new.zone))
    return ", ".join(f"{name} {one} -> {other}" for name, one, other in pairs if one != other)
