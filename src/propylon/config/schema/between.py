"""Rules between the keys of one mapping, shared by several models."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from propylon.config.schema.base import Finding
from propylon.config.units import parse_duration


def of_no_use(data: Mapping[str, Any], keys: Sequence[str], without: Sequence[str]) -> Iterator[Finding]:
    """Yield a finding for each of `keys` that is set although none of the keys in `without` is."""
    if any(data.get(other) for other in without):
        return
    for key in keys:
        if data.get(key) is not None:
            yield Finding(
                (key,),
                f"{key!r} is of no use without {' or '.join(map(repr, without))}",
                "remove it",
                needs=tuple(without),
            )


def too_short(data: Mapping[str, Any], most: str, least: str, model: type[BaseModel]) -> Iterator[Finding]:
    """Yield a finding if the duration `most` is below the duration `least`, defaults included."""
    if most not in data and least not in data:
        return
    try:
        longest, shortest = (parse_duration(data.get(key, model.model_fields[key].default)) for key in (most, least))
    except ValueError:  # reported elsewhere, or unbounded
        return
    if longest < shortest:
        at = most if most in data else least
        message = f"{most!r} ({longest:g}s) is below {least!r} ({shortest:g}s)"
        yield Finding((at,), message, f"write {most!r} as {shortest:g}s or more")
