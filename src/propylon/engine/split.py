"""One route to several services: a share of the requests goes to each, as for a canary.

Rules of this file:

- What a request names (`choose`) comes first, then what it sticks to (`sticky`), then chance. What is empty names
  nothing and sticks to nothing.
- A service that is named may have weight 0: so a version can be tried that nobody else is sent to.
- The same value sticks to the same service in every process, whatever the order in the file. If weights change, or
  services come and go, only values move whose service has lost a share: of two services, just as many as the share.
  The rule is weighted rendezvous hashing (C. Schindelhauer, G. Schomaker, "Weighted Distributed Hash Tables", SPAA
  2005, the logarithmic method): each service draws an exponential variate of its weight from the hash of its name and
  the value, and the least one wins.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from math import log
from typing import TYPE_CHECKING, Final

from propylon.routing.key import by_cookie

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.engine.snapshot import CompiledRoute
    from propylon.routing.key import Key, Keyed

_HASHES: Final = 2.0**64


@dataclass(frozen=True, slots=True)
class StickyCookie:
    """The cookie that a client without one is given to stick by.

    Attributes:
        name: of the cookie.
        max_age: seconds that a client keeps it; `None` until it is closed.
    """

    name: str
    max_age: int | None = None

    def line(self, value: bytes, secure: bool) -> bytes:
        """Return the line that gives a client its cookie (RFC 6265 4.1)."""
        age = b"" if self.max_age is None else b"; Max-Age=%d" % self.max_age
        tail = b"; Secure" if secure else b""
        name = self.name.encode("ascii")
        return b"set-cookie: %b=%b%b; Path=/; HttpOnly; SameSite=Lax%b\r\n" % (name, value, age, tail)


@dataclass(frozen=True, slots=True)
class Share:
    """One service of a split.

    Attributes:
        name: of the service.
        weight: its share, relative to the others; 0 for none.
        route: the route with this service and its policies.
    """

    name: str
    weight: int
    route: CompiledRoute


@dataclass(frozen=True, slots=True)
class Luck:
    """Chance, as a split gets it.

    Attributes:
        random: a float of [0, 1).
        new_id: a value for a cookie that nobody else has.
    """

    random: Callable[[], float]
    new_id: Callable[[], bytes]


class Split:
    """Picks the variant of a route that a request takes.

    Attributes:
        shares: the services, in the order of the configuration.
        choose: what may name one of them.
        sticky: what a request sticks by.
        cookie: what a request without the key of `sticky` is given, if that is a cookie.
    """

    __slots__ = ("_bounds", "_by_name", "_luck", "_weighty", "choose", "cookie", "shares", "sticky")

    def __init__(
        self, shares: Sequence[Share], choose: Key | None, sticky: Key | StickyCookie | None, luck: Luck
    ) -> None:
        """Make a split. Raises `ValueError` if no service has a weight."""
        self.shares = tuple(shares)
        self.choose = choose
        self.cookie = sticky if isinstance(sticky, StickyCookie) else None
        self.sticky = by_cookie(sticky.name) if isinstance(sticky, StickyCookie) else sticky
        self._luck = luck
        self._by_name = {share.name.encode("ascii"): share for share in shares}
        self._weighty = [(name, share) for name, share in self._by_name.items() if share.weight > 0]
        if not self._weighty:
            raise ValueError("a split needs a service of a weight above 0")
        self._bounds = list(accumulate(share.weight for _, share in self._weighty))

    def pick(self, x: Exchange) -> CompiledRoute:
        """Return the variant that an exchange takes; a client that needs a cookie to stick by is given one."""
        share, _ = self.foresee(x)
        if share is None:
            if self.cookie is not None:
                value = self._luck.new_id()
                x.extra_fields += self.cookie.line(value, x.origin.scheme == b"https")
                share = self._stuck(value)
            else:
                share = self._drawn()
        return share.route

    def foresee(self, request: Keyed) -> tuple[Share | None, str]:
        """Return where a request goes and what decides it; `None` if that is chance."""
        if self.choose is not None:
            share = self._by_name.get(self.choose.read(request) or b"")
            if share is not None:
                return share, f"named by {self.choose}"
        if self.sticky is not None and (value := self.sticky.read(request)):
            return self._stuck(value), f"sticky by {self.sticky}"
        return None, "by chance"

    def shown(self) -> list[str]:
        """Return each service with its share in per cent."""
        return [f"{share.name} {100 * share.weight / self._bounds[-1]:.4g}%" for share in self.shares]

    def _drawn(self) -> Share:
        place = bisect_right(self._bounds, self._luck.random() * self._bounds[-1])
        return self._weighty[place][1]

    def _stuck(self, value: bytes) -> Share:
        return min(self._weighty, key=lambda item: _variate(item[0], value) / item[1].weight)[1]


def _variate(name: bytes, value: bytes) -> float:
    """Return what an exponential distribution of rate 1 has at the hash of a service and a value."""
    number = int.from_bytes(blake2b(b"%b\0%b" % (name, value), digest_size=8).digest(), "big")
    return -log((number + 1) / _HASHES)
