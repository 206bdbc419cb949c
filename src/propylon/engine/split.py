"""One route to several services, each with a share of the requests, as for a canary.

Rules of this file:

- A service named by the request (`choose`) comes first, then the sticky key (`sticky`), then chance. An empty value is
  as none.
- A named service may have weight 0: a version for requests that name it, and for no others.
- The same value sticks to the same service in every process, in any order of the file. If weights change, or services
  are added or removed, only values of a service that loses a share move: of two services, exactly that share.
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
    """The sticky cookie, set for a client without one.

    Attributes:
        name: of the cookie.
        max_age: in seconds; `None` for a session cookie.
    """

    name: str
    max_age: int | None = None

    def line(self, value: bytes, secure: bool) -> bytes:
        """Return the Set-Cookie line for a value (RFC 6265 4.1)."""
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
    """The randomness of a split, injected.

    Attributes:
        random: returns a float of [0, 1).
        new_id: returns a unique value for a cookie.
    """

    random: Callable[[], float]
    new_id: Callable[[], bytes]


class Split:
    """Picks the variant of a route for a request.

    Attributes:
        shares: the services, in the order of the configuration.
        choose: the key that may name one of them.
        sticky: the sticky key.
        cookie: set for a request without the key of `sticky`, if that is a cookie.
    """

    __slots__ = ("_bounds", "_by_name", "_luck", "_weighted", "choose", "cookie", "shares", "sticky")

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
        self._weighted = [(name, share) for name, share in self._by_name.items() if share.weight > 0]
        if not self._weighted:
            raise ValueError("a split needs a service of a weight above 0")
        self._bounds = list(accumulate(share.weight for _, share in self._weighted))

    def pick(self, x: Exchange) -> CompiledRoute:
        """Return the variant for an exchange; set the sticky cookie for a client without one."""
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
        """Return the share of a request, and the reason; `None` if it is drawn by chance."""
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
        return self._weighted[place][1]

    def _stuck(self, value: bytes) -> Share:
        return min(self._weighted, key=lambda item: _variate(item[0], value) / item[1].weight)[1]


def _variate(name: bytes, value: bytes) -> float:
    """Return the exponential variate of rate 1 at the hash of a service and a value."""
    number = int.from_bytes(blake2b(b"%b\0%b" % (name, value), digest_size=8).digest(), "big")
    return -log((number + 1) / _HASHES)
