"""Consistent hashing: sends the same key to the same endpoint, for caches, sessions and shards.

    balance: {consistent_hash: {header: x-user}}
    balance: {consistent_hash: {cookie: session}}
    balance: {consistent_hash: {query: tenant}}
    balance: {consistent_hash: {path: true}}
    balance: {consistent_hash: {client: true}}                           # the client's address
    balance: {consistent_hash: {python: my_balancing:key, bound: 1.5}}   # a function, called with the exchange

All gateways and workers map a key to the same endpoint, without coordination. When an endpoint is added or removed,
only about its share of the keys moves. A request with a missing or empty key goes to a random endpoint.

With `bound`, popular keys do not overload their endpoint: a request that would bring it above `bound` times its share
of all requests in flight goes to the next endpoint of the ring (V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent
Hashing with Bounded Loads", 2016), but not while it has fewer than 8 in flight. The default is 1.25 for `path`, where
any endpoint can answer, and no bound for all other keys: they mean a session, a user or a shard, which another endpoint
does not have. A pick is O(log n).
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

from propylon.config.schema.key import KeyConfig
from propylon.services.balancing._function import Function
from propylon.services.balancing._ring import Ring
from propylon.services.balancing._sampling import Sampler

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.services.balancing import Chance
    from propylon.services.endpoint import Endpoint

_STEPS: Final = 64
"""Points of the ring that are tried; more are needed only if nearly all endpoints are full or to be avoided."""
_PATH_BOUND: Final = 1.25
_FREE_INFLIGHT: Final = 8
"""Requests in flight that an endpoint may always have: two of the same key in parallel must not part."""
_RECOUNT: Final = 8
"""Requests in flight are counted again after picks of an eighth of the number of endpoints: amortized O(1) a pick."""


def _none(value: object) -> object:
    return None if value == "none" else value


Bound = Annotated[
    Annotated[float, Field(strict=True, gt=1, le=100)] | None,
    BeforeValidator(_none),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 1, "maximum": 100}, {"const": "none"}]}),
]


class Config(KeyConfig):
    """The key, and how unequal loads may be."""

    bound: Bound = Field(
        default=None,
        description="Maximum load of an endpoint with 8 requests or more, as a multiple of its share of the total; "
        "or none. By default 1.25 for 'path', and none for other keys.",
    )

    @property
    def shown(self) -> str:
        """The settings in short, for `propylon explain`."""
        return f"{self.source}, {'no bound' if self.max_share is None else f'bound {self.max_share:g}'}"

    @property
    def max_share(self) -> float | None:
        """The bound that applies; `None` for none."""
        return _PATH_BOUND if self.path and "bound" not in self.model_fields_set else self.bound


class Balancer:
    """Consistent hashing with bounded loads."""

    __slots__ = ("_bound", "_count", "_endpoints", "_key", "_random", "_ring", "_sampler", "_until_count")

    decides_alone = True
    _sampler: Sampler

    def __init__(self, config: Config, chance: Chance) -> None:
        """Prepare to read the key. Raises the exceptions of `Function`."""
        self._key = config.key(_key_function).read
        self._bound = config.max_share
        self._random = chance.random
        self._ring = Ring()
        self._endpoints: Sequence[Endpoint] = ()
        self._count = 0
        self._until_count = 0

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the endpoints; the keys of those that remain do not move."""
        self._endpoints = endpoints
        self._sampler = Sampler(endpoints, self._random)
        self._ring.update(endpoints)
        self._until_count = 0

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Return the endpoint of the request's key, or the next one on the ring below its bound.

        Raises:
            GatewayError: request.policy_failed if the key function fails.
        """
        if len(self._endpoints) == 1:
            return self._endpoints[0]
        key = self._key(x)
        if not key:
            return self._sampler.one_but(avoid)
        bound = self._inflight_bound()
        for endpoint in islice(self._ring.walk(key), _STEPS):
            load = endpoint.vitals.inflight
            if (load < _FREE_INFLIGHT or load < bound * endpoint.weight) and endpoint not in avoid:
                return endpoint
        remaining = self._sampler.without(avoid).endpoints
        return min(remaining, key=lambda endpoint: endpoint.vitals.inflight / endpoint.weight)

    def _inflight_bound(self) -> float:
        """Return the maximum number of requests in flight per unit of weight, this one included."""
        if self._bound is None:
            return float("inf")
        if self._until_count <= 0:
            self._count = sum([endpoint.vitals.inflight for endpoint in self._endpoints])
            self._until_count = len(self._endpoints) // _RECOUNT
        else:
            self._until_count -= 1
        return self._bound * (self._count + 1) / self._sampler.total


def _key_function(reference: str | Callable[..., Any]) -> Callable[[Exchange], bytes | None]:
    """Return a reader of keys that calls a function. Raises the exceptions of `Function`."""
    function = Function(reference)

    def key(x: Exchange) -> bytes | None:
        result: Any = function.call(x)
        if isinstance(result, str):
            return result.encode("utf-8", "surrogatepass")
        if result is None or isinstance(result, bytes):
            return result
        raise function.invalid(result, "text, bytes or None")

    return key
