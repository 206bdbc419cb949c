"""Accept-Encoding: which content codings a client takes (RFC 9110, section 12.5.3)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_MEMBER: Final = re.compile(
    r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?[ \t]*", re.ASCII
)


def accepted_codings(value: str | None) -> dict[str, float]:
    """Return the codings of an Accept-Encoding field with their weights; invalid members are left out.

    `x-gzip` is `gzip` (RFC 9110 8.4.1.3).
    """
    codings: dict[str, float] = {}
    for member in (value or "").split(","):
        found = _MEMBER.fullmatch(member)
        if found is not None:
            name = found[1].lower().removeprefix("x-")
            codings[name] = 1.0 if found[2] is None else float(found[2])
    return codings


def preferred(value: str | None, offered: Iterable[str]) -> list[str]:
    """Return the offered codings that a client takes, the ones it prefers first; else in the order of the offer.

    A client that sends no Accept-Encoding gets none: it may be a program that decodes nothing.
    """
    codings = accepted_codings(value)
    weights = {name: codings.get(name, codings.get("*", 0.0)) for name in offered}
    return sorted((name for name, weight in weights.items() if weight > 0), key=lambda name: -weights[name])
