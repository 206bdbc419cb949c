"""The same key to the same endpoint: for caches, sessions and shards.

    balance: {consistent_hash: {header: x-user}}
    balance: {consistent_hash: {cookie: session}}
    balance: {consistent_hash: {query: tenant}}
    balance: {consistent_hash: {path: true}}
    balance: {consistent_hash: {client: true, bound: none}}              # the client's address
    balance: {consistent_hash: {python: my_balancing:key, bound: 1.5}}   # a function, called with the exchange

Every gateway and worker gives a key to the same endpoint, without telling the others. When an endpoint comes or goes,
about its share of the keys moves and no other. A request whose key is missing or empty goes to an endpoint drawn by
chance.

Popular keys do not overload their endpoint: what would bring it above `bound` times its part of everything under way
goes on to the next endpoint of the ring (V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded
Loads", 2016). `bound: none` lets a key stay whatever it costs. A pick is O(log n).
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
"""Points of the ring that are tried; more are needed only if nearly everything is full or to be avoided."""
_RECOUNT: Final = 8
"""What is under way is counted anew when an eighth of the endpoints has been picked, so it costs O(1) a pick."""


def _none(value: object) -> object:
    return None if value == "none" else value


Bound = Annotated[
    Annotated[float, Field(strict=True, gt=1, le=100)] | None,
    BeforeValidator(_none),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 1, "maximum": 100}, {"const": "none"}]}),
]


class Config(KeyConfig):
    """What the key is, and how unequal loads may be."""

    bound: Bound = Field(
        default=1.25, description="Load that an endpoint may have, as a multiple of its part of it all; or none."
    )


class Balancer:
    """Consistent hashing with bounded loads."""

    __slots__ = ("_bound", "_count", "_endpoints", "_key", "_random", "_ring", "_sampler", "_until_count")

    decides_alone = True
    _sampler: Sampler

    def __init__(self, config: Config, chance: Chance) -> None:
        """Prepare to read the key. Raises what `Function` raises."""
        self._key = config.key(_asking).read
        self._bound = config.bound
        self._random = chance.random
        self._ring = Ring()
        self._endpoints: Sequence[Endpoint] = ()
        self._count = 0
        self._until_count = 0

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Choose among `endpoints` from now on; keys of those that stay stay."""
        self._endpoints = endpoints
        self._sampler = Sampler(endpoints, self._random)
        self._ring.update(endpoints)
        self._until_count = 0

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Return the endpoint of the request's key, or the next that may take it.

        Raises:
            GatewayError: request.policy_failed if the function that makes the key fails.
        """
        if len(self._endpoints) == 1:
            return self._endpoints[0]
        key = self._key(x)
        if not key:
            return self._sampler.one_but(avoid)
        most = self._most()
        for endpoint in islice(self._ring.walk(key), _STEPS):
            if endpoint.vitals.inflight < most * endpoint.weight and endpoint not in avoid:
                return endpoint
        left = self._sampler.without(avoid).endpoints
        return min(left, key=lambda endpoint: endpoint.vitals.inflight / endpoint.weight)

    def _most(self) -> float:
        """Return what each unit of weight may have under way, this request included."""
        if self._bound is None:
            return float("inf")
        if self._until_count <= 0:
            self._count = sum([endpoint.vitals.inflight for endpoint in self._endpoints])
            self._until_count = len(self._endpoints) // _RECOUNT
        else:
            self._until_count -= 1
        return self._bound * (self._count + 1) / self._sampler.total


def _asking(reference: str | Callable[..., Any]) -> Callable[[Exchange], bytes | None]:
    """Return what asks a function for the key. Raises what `Function` raises."""
    function = Function(reference)

    def key(x: Exchange) -> bytes | None:
        answer: Any = function.ask(x)
        if isinstance(answer, str):
            return answer.encode("utf-8", "surrogatepass")
        if answer is None or isinstance(answer, bytes):
            return answer
        raise function.wrong(answer, "text, bytes or None")

    return key
