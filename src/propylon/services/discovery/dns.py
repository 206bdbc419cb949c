"""Endpoints from DNS: all addresses of a name, or the targets of its SRV records.

    discover:
      dns: {name: users.internal, port: 8080}                              # A and AAAA records
      dns: {name: _http._tcp.users.service.consul, resolver: "127.0.0.1:8600"}   # SRV records have their ports

A name is resolved again when the TTL of the answer ends, but not before `min_ttl` and not after `max_ttl`. The priority
and weight of an SRV record (RFC 2782) are those of its endpoints; targets are resolved to addresses, or used as names
with `resolve: false`. On any failure (no such name, no record, a server error or timeout) the last endpoints are kept.
If only one of IPv4 and IPv6 fails, the addresses of the other one are used, and it is queried again after 5 s at most.
Only an SRV record with the target "." means that there are none. `refuse_private` leaves out addresses that are not
public, so that a name under external control cannot point into your own network.

With https, certificates are verified for the addresses of the endpoints: set `tls: {server_name: ...}` of the service,
or use `resolve: false` if each target has its own certificate.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import socket
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from propylon.config.types import Bool, DnsServer, Duration, Int
from propylon.outbound.dns import LOOKUP_TIMEOUT_S, LOOKUP_TRIES, NAMES, PARTIAL_TTL_S, ask, failure
from propylon.outbound.resolve import is_public
from propylon.services.discovery import DiscoveryError, EndpointSpec, ProviderContext
from propylon.services.endpoint_list import MAX_WEIGHT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aiodns import DNSResolver

log = logging.getLogger("propylon.discovery")

MAX_RECORDS: Final = 1000
"""Maximum number of addresses or targets used of one name; an answer over TCP may have four times as many."""
ROUND_TIMEOUT_S: Final = 30.0
"""Seconds for all queries of one round, including those of the targets, 64 at the same time."""
_MAX_CONCURRENT_TARGETS: Final = 64
_FAMILIES: Final = {"any": tuple(NAMES), "ipv4": (socket.AF_INET,), "ipv6": (socket.AF_INET6,)}
_MAX_NAME: Final = 253
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def _name(value: object) -> str:
    text = value.removesuffix(".") if isinstance(value, str) else ""
    if not text or len(text) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise ValueError("not a DNS name: write for example users.internal or _http._tcp.users.internal")
    if text.rpartition(".")[2].isdigit():
        raise ValueError("an address needs no discovery: write it below endpoints")
    return text


class Config(BaseModel):
    """Which records are queried, where and how often, and how they are used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, PlainValidator(_name), WithJsonSchema({"type": "string", "examples": ["users.internal"]})] = (
        Field(description="The name to resolve.")
    )
    type: Literal["address", "srv"] | None = Field(
        default=None,
        description="A and AAAA records (address) or SRV records; by default srv if the name begins with '_'.",
    )
    port: Annotated[Int, Field(ge=1, le=65535)] | None = Field(
        default=None, description="Port of every address; SRV records have their own."
    )
    scheme: Literal["http", "https"] = Field(default="http", description="Scheme of the endpoints.")
    family: Literal["any", "ipv4", "ipv6"] = Field(
        default="any", description="Address family; with any, a dual-stack host is two endpoints."
    )
    resolver: DnsServer | None = Field(default=None, description="DNS server, IP[:PORT]; by default the system's.")
    resolve: Bool = Field(default=True, description="Resolve the targets of SRV records; false uses their names.")
    refuse_private: Bool = Field(
        default=False, description="Leave out private, loopback, link-local and other non-public addresses."
    )
    min_ttl: Annotated[Duration, Field(ge=0.1)] = Field(default=1.0, description="Minimum time an answer is used.")
    max_ttl: Annotated[Duration, Field(ge=0.1)] = Field(default=300.0, description="Maximum time an answer is used.")

    @property
    def is_srv(self) -> bool:
        """Whether SRV records are queried."""
        return self.type == "srv" or (self.type is None and self.name.startswith("_"))

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not self.is_srv and self.port is None:
            raise ValueError("'port' is missing: addresses have none")
        if self.is_srv and self.port is not None:
            raise ValueError("'port' is of no use: SRV records have their own, remove it or write type: address")
        if not self.resolve and not self.is_srv:
            raise ValueError("'resolve: false' is for SRV records: write the name itself below endpoints")
        if not self.resolve and self.refuse_private:
            raise ValueError("'refuse_private' needs the addresses: remove 'resolve: false'")
        if self.min_ttl > self.max_ttl:
            raise ValueError("'min_ttl' is longer than 'max_ttl'")
        return self


class _Addresses(NamedTuple):
    """The addresses of one name, and seconds until the first of them expires."""

    addresses: tuple[_Ip, ...]
    ttl: float


class Provider:
    """Discovery by repeated queries for one name."""

    def __init__(self, config: Config, context: ProviderContext) -> None:
        self._config = config
        self._service = context.service
        self._truncated = False
        self._last: dict[tuple[str, socket.AddressFamily], tuple[str, ...]] = {}  # of the last complete round
        self._answered: dict[tuple[str, socket.AddressFamily], tuple[str, ...]] = {}  # of this round
        self._partial: set[str] = set()

    async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
        """Yield the endpoints of each answer; the next query is sent at the end of its TTL."""
        while True:
            try:
                async with asyncio.timeout(ROUND_TIMEOUT_S):
                    found, ttl = await self._query()
            except TimeoutError:
                raise DiscoveryError(f"{self._config.name}: no complete answer within {ROUND_TIMEOUT_S:g} s") from None
            self._last, self._answered = self._answered, {}
            self._partial.intersection_update(name for name, _ in self._last)
            yield found
            await asyncio.sleep(min(max(ttl, self._config.min_ttl), self._config.max_ttl))

    async def _query(self) -> tuple[list[EndpointSpec], float]:
        self._answered = {}
        # c-ares caches answers until their TTL ends, which may be after max_ttl; a new channel has an empty cache.
        channel = self._channel()
        try:
            if self._config.is_srv:
                return await self._services(channel)
            addresses, ttl = await self._addresses(channel, self._config.name)
            self._require_addresses(addresses, self._config.name)
            return [self._endpoint(ip, self._config.port or 0) for ip in self._truncate(addresses)], ttl
        finally:
            await channel.close()

    def _channel(self) -> DNSResolver:
        import aiodns
        import pycares

        servers = None if self._config.resolver is None else [self._config.resolver]
        try:
            return aiodns.DNSResolver(servers, timeout=LOOKUP_TIMEOUT_S, tries=LOOKUP_TRIES)
        except pycares.AresError as error:
            raise DiscoveryError(f"the DNS server {self._config.resolver} cannot be used: {error.args[-1]}") from None

    # addresses

    async def _addresses(self, channel: DNSResolver, name: str) -> _Addresses:
        """Return the addresses of a name, possibly none.

        If one family fails, its last addresses are used beside those of the other one.

        Raises:
            DiscoveryError: a query failed, and no other has found an address.
        """
        answers = await ask(channel, name, _FAMILIES[self._config.family])
        error = failure(answers)
        if error and not any(answer.addresses for answer in answers):
            raise DiscoveryError(f"{name}, {error}")
        self._note(name, error)
        texts: list[str] = []
        for answer in answers:
            key = (name, answer.family)
            self._answered[key] = self._last.get(key, ()) if answer.error else answer.addresses
            texts += self._answered[key]
        found = [ipaddress.ip_address(text) for text in texts]
        if self._config.refuse_private:
            public = [ip for ip in found if is_public(ip)]
            if found and not public:
                raise DiscoveryError(f"{name}: refused, none of its {len(found)} addresses is public")
            found = public
        ttl = min(answer.ttl for answer in answers)
        return _Addresses(tuple(found), min(ttl, PARTIAL_TTL_S) if error else ttl)

    def _note(self, name: str, error: str) -> None:
        """Log that a family fails, once until it works again."""
        if not error:
            self._partial.discard(name)
        elif name not in self._partial:
            self._partial.add(name)
            other = "ipv4" if error.startswith(NAMES[socket.AF_INET6]) else "ipv6"
            log.warning(
                "%s: %s, %s; the other addresses serve. If the name has none of that family, write 'family: %s'",
                self._service, name, error, other,
            )  # fmt: skip

    def _require_addresses(self, found: Sequence[object], name: str) -> None:
        if not found:
            raise DiscoveryError(f"{name}: no such name, or it has no address of the family {self._config.family}")

    def _endpoint(self, ip: _Ip, port: int, weight: int = 1, priority: int = 0) -> EndpointSpec:
        host = f"[{ip}]" if ip.version == 6 else str(ip)
        return EndpointSpec(f"{self._config.scheme}://{host}:{port}", weight, priority)

    def _truncate(self, records: Sequence[Any]) -> Sequence[Any]:
        """Return at most `MAX_RECORDS` records, chosen deterministically."""
        truncated = len(records) > MAX_RECORDS
        if truncated and not self._truncated:
            log.warning(
                "%s: %s has %d records, only %d are used", self._service, self._config.name, len(records), MAX_RECORDS
            )
        self._truncated = truncated
        return sorted(records, key=str)[:MAX_RECORDS] if truncated else records

    # SRV records

    async def _services(self, channel: DNSResolver) -> tuple[list[EndpointSpec], float]:
        """Return an endpoint for each address of each target."""
        name = self._config.name
        records = await _srv_records(channel, name)
        if not records:
            raise DiscoveryError(f"{name}: it has no SRV records")
        ttl = min(record.ttl for record in records)
        services = self._truncate([record.data for record in records if record.data.target not in ("", ".")])
        if not services:
            return [], ttl  # RFC 2782: the service is decidedly not available at this domain
        heaviest = max(service.weight for service in services)
        if not self._config.resolve:
            scheme = self._config.scheme
            return [
                EndpointSpec(f"{scheme}://{each.target}:{each.port}", _weight(each.weight, heaviest), each.priority)
                for each in services
            ], ttl
        targets = await self._targets(channel, sorted({service.target for service in services}))
        found = [
            self._endpoint(ip, each.port, _weight(each.weight, heaviest), each.priority)
            for each in services
            for ip in targets[each.target].addresses
        ]
        self._require_addresses(found, f"{name}: its targets")
        return found, min(ttl, *(target.ttl for target in targets.values()))

    async def _targets(self, channel: DNSResolver, names: Sequence[str]) -> dict[str, _Addresses]:
        """Resolve all targets; a target that does not exist has no addresses, any other failure is raised."""
        limit = asyncio.Semaphore(_MAX_CONCURRENT_TARGETS)

        async def resolve(name: str) -> _Addresses:
            async with limit:
                return await self._addresses(channel, name)

        return dict(zip(names, await asyncio.gather(*map(resolve, names)), strict=True))


async def _srv_records(channel: DNSResolver, name: str) -> list[Any]:
    from aiodns.error import DNSError
    from pycares import SRVRecordData

    try:
        answer = await channel.query_dns(name, "SRV")
    except DNSError as error:
        raise DiscoveryError(f"{name}: {error.args[-1]}") from None
    return [record for record in answer.answer if isinstance(record.data, SRVRecordData)]


def _weight(weight: int, heaviest: int) -> int:
    """Scale an SRV weight of 0 ("a very small chance") to 65535 to the range of 1 to `MAX_WEIGHT`."""
    return max(1, weight * MAX_WEIGHT // heaviest if heaviest > MAX_WEIGHT else weight)
