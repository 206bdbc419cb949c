"""Parsers for durations, sizes, shares and statuses: `250ms`, `64KiB`, `20%`, `5xx`.

Rules of the file: pure functions; every error is a `ValueError` that says what to write instead. Numbers without a unit
are seconds and bytes. A disabled duration or limit is `None`, never zero and never infinity.
"""

import re
from typing import Final

# Ten years: a longer one is a typing error; and every deadline stays far from the limits of the event loop's clock.
MAX_DURATION_SECONDS: Final = 10 * 365 * 86400.0
# The largest signed 64-bit number, the limit of every counter a size is compared with.
MAX_SIZE_BYTES: Final = 2**63 - 1

# Longer text is not a plausible number, and int() refuses thousands of digits.
_MAX_NUMBER_LENGTH: Final = 40

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_QUANTITY: Final = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))? ?([A-Za-z]*)", re.ASCII)

_STATUS_CLASS: Final = re.compile(r"([1-5])xx")
_STATUS_RANGE: Final = re.compile(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?")
_PERCENT: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?%")

# The written forms as regular expressions of JSON Schema, which finds them anywhere in the text.
DURATION_PATTERN: Final = r"^\s*\+?[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d)?\s*$"
SIZE_PATTERN: Final = r"^\s*\+?[0-9]+(\.[0-9]+)? ?(([KkMmGgTt][Ii]?)?[Bb])?\s*$"
PERCENT_PATTERN: Final = r"^\s*0*(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?) ?%\s*$"
STATUS_PATTERN: Final = r"^([1-5]xx|[1-5][0-9][0-9](-[1-5][0-9][0-9])?)$"

_DURATION_HELP: Final = "write a duration such as 250ms, 5s, 1m or 1h"
_SIZE_HELP: Final = "write a size such as 64KiB, 10MB or a number of bytes"


def parse_duration(value: object) -> float:
    """Return the seconds of a duration such as `250ms`, `1.5s`, `1m`, `1h`, `1d`, or of a bare number of seconds.

    Raises `ValueError` for anything else, for a negative duration, and for one of more than ten years.
    """
    if isinstance(value, str):
        seconds = _seconds(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = _checked(value)
    else:
        raise ValueError(f"not a duration: {_DURATION_HELP}")
    return seconds


def parse_optional_duration(value: object) -> float | None:
    """Return the seconds of a duration, or `None` for `none` and zero: disabled."""
    if value is None or value == "none":
        return None
    return parse_duration(value) or None


def parse_size(value: object) -> int:
    """Return the bytes of a size such as `64KiB` (1024), `10MB` (1000), `1.5GiB`, or of a bare number of bytes.

    Raises `ValueError` for anything else, for a negative size, and for a fraction of a byte.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str):
        size = _bytes(value)
    else:
        raise ValueError(f"not a size: {_SIZE_HELP}")
    if size < 0:
        raise ValueError("a size cannot be negative")
    if size > MAX_SIZE_BYTES:
        raise ValueError("a size of more than 8 EiB")
    return size


def parse_optional_size(value: object) -> int | None:
    """Return the bytes of a size, or `None` for `none` and zero: no limit."""
    if value is None or value == "none":
        return None
    return parse_size(value) or None


def parse_percent(value: object) -> float:
    """Return the share, 0 to 1, of a percentage such as `20%` or `0.5%`.

    Raises `ValueError` for anything else: a bare number is ambiguous.
    """
    match = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= _MAX_NUMBER_LENGTH else None
    if match is None:
        raise ValueError("not a percentage: write it with its sign, such as 20% or 0.5%")
    share = float(match[1]) / 100
    if share > 1:
        raise ValueError("more than 100%")
    return share


def parse_statuses(value: object) -> frozenset[int]:
    """Return the statuses of a number (503), class (5xx) or range (500-504), or of a list of these.

    Raises `ValueError` for anything else.
    """
    found: set[int] = set()
    for item in value if isinstance(value, list | tuple | frozenset) else (value,):
        text = str(item) if isinstance(item, int | str) and not isinstance(item, bool) else ""
        if match := _STATUS_CLASS.fullmatch(text):
            found.update(range(int(match[1]) * 100, int(match[1]) * 100 + 100))
        elif (match := _STATUS_RANGE.fullmatch(text)) and int(match[1]) <= int(match[2] or match[1]):
            found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
        else:
            raise ValueError(f"{item!r} is no status: write 503, 5xx or 500-504")
    return frozenset(found)


def _quantity(text: str, wrong: str) -> tuple[str, str, str, str]:
    match = _QUANTITY.fullmatch(text.strip()) if len(text) <= _MAX_NUMBER_LENGTH else None
    if match is None:
        raise ValueError(wrong)
    sign, whole, fraction, unit = match.groups()
    return sign, whole, fraction or "", unit


def _seconds(text: str) -> float:
    sign, whole, fraction, unit = _quantity(text, f"not a duration: {_DURATION_HELP}")
    factor = _SECONDS.get(unit or "s")
    if factor is None:
        raise ValueError(f"unknown unit {unit!r}: use ms, s, m, h or d")
    return _checked(float(f"{sign}{whole}.{fraction or '0'}") * factor)


def _checked(seconds: float) -> float:
    if seconds < 0:
        raise ValueError("a duration cannot be negative")
    if not seconds <= MAX_DURATION_SECONDS:  # also refuses NaN, which compares false with everything
        raise ValueError("a duration of more than ten years: write 'none' to switch it off")
    return float(seconds)


def _bytes(text: str) -> int:
    sign, whole, fraction, unit = _quantity(text, f"not a size: {_SIZE_HELP}")
    factor = _BYTES.get(unit.lower())
    if factor is None:
        raise ValueError(f"unknown unit {unit!r}: use B, KB, MB, GB, TB (of 1000) or KiB, MiB, GiB, TiB (of 1024)")
    size, rest = divmod(int(whole + fraction) * factor, 10 ** len(fraction))
    if rest:
        raise ValueError("not a whole number of bytes")
    return -int(size) if sign == "-" else int(size)
