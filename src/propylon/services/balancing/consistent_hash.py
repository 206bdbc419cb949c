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
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from propylon.config.schema.matching import FieldName
from propylon.config.types import Text
from propylon.http import query
from propylon.http.cookies import cookie
from propylon.http.forwarded import GATEWAY_OWNED
from propylon.services.balancing._function import Function, PlainFunction
from propylon.services.balancing._ring import Ring
from propylon.services.balancing._sampling import Sampler

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.services.balancing import Chance
    from propylon.services.endpoint import Endpoint

_KEYS: Final = ("header", "cookie", "query", "path", "client", "python")
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


class Config(BaseModel):
    """What the key is, and how unequal loads may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    header: FieldName | None = Field(default=None, description="The key is the first value of this request header.")
    cookie: Text | None = Field(default=None, description="The key is the value of this cookie.")
    query: Text | None = Field(default=None, description="The key is the first value of this query parameter.")
    path: Literal[True] | None = Field(default=None, description="The key is the path that is asked of the service.")
    client: Literal[True] | None = Field(default=None, description="The key is the address of the client.")
    python: PlainFunction | None = Field(
        default=None, description="`module:function`, called with the exchange; returns text, bytes or None."
    )
    bound: Bound = Field(
        default=1.25, description="Load that an endpoint may have, as a multiple of its part of it all; or none."
    )

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        given = [name for name in _KEYS if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"here are {', '.join(given)}" if given else "here is none"
            raise ValueError(f"exactly one of {', '.join(_KEYS)} says what the key is, and {found}")
        if self.header is not None and self.header.lower().encode("ascii") in GATEWAY_OWNED:
            raise ValueError(f"{self.header} is no header a client may set: for its address write 'client: true'")
        return self


class Balancer:
    """Consistent hashing with bounded loads."""

    __slots__ = ("_bound", "_count", "_endpoints", "_key", "_random", "_ring", "_sampler", "_until_count")

    decides_alone = True
    _sampler: Sampler

    def __init__(self, config: Config, chance: Chance) -> None:
        """Prepare to read the key. Raises what `Function` raises."""
        self._key = _reader(config)
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


def _reader(config: Config) -> Callable[[Exchange], bytes | None]:
    """Return what reads the key of an exchange."""
    if config.header is not None:
        header = config.header.lower().encode("ascii")
        return lambda x: x.header(header)
    if config.cookie is not None:
        name = config.cookie.encode("utf-8")
        return lambda x: cookie(x.fields.all(b"cookie"), name)
    if config.query is not None:
        parameter = config.query.encode("utf-8")
        return lambda x: query.get(x.query, parameter)
    if config.path is not None:
        return lambda x: x.path
    if config.client is not None:
        return lambda x: x.client_address
    assert config.python is not None
    return _asking(Function(config.python))


def _asking(function: Function) -> Callable[[Exchange], bytes | None]:
    def key(x: Exchange) -> bytes | None:
        answer: Any = function.ask(x)
        if isinstance(answer, str):
            return answer.encode("utf-8", "surrogatepass")
        if answer is None or isinstance(answer, bytes):
            return answer
        raise function.wrong(answer, "text, bytes or None")

    return key
