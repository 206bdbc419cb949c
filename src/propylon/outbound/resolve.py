"""Name resolution for endpoints: at the opening of a connection, cached for the TTL of the answer.

Rules of the file:

- An answer is cached for its TTL, clamped to the configured bounds. Lookups are single-flight: one for all callers.
- If DNS fails, the last good answer is used for up to `STALE_S` (RFC 8767), and callers wait at most `STALE_WAIT_S`
  for the failing lookup. A name without an earlier answer fails at once for `NEGATIVE_TTL_S`.
- Memory is bounded: the number of names, and of addresses for a name.
- The DNS library is imported at the first name; an address never needs it. It reads /etc/hosts and
  /etc/resolv.conf (search domains too), and answers `localhost` itself (RFC 6761, section 6.3).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import aiodns

NEGATIVE_TTL_S: Final = 1.0
"""Seconds that a failure is cached. nginx and Envoy: 0 to 5 s."""
STALE_S: Final = 3600.0
"""Seconds after expiry that an answer is used while lookups fail. RFC 8767 allows days; hosts get renumbered."""
STALE_WAIT_S: Final = 0.25
"""Seconds to wait for a fresh answer when there is a stale one. RFC 8767, section 5, suggests 1.8."""
LOOKUP_TIMEOUT_S: Final = 2.0
"""Seconds until a query is repeated. c-ares and glibc wait 2 and 5 s."""
LOOKUP_TRIES: Final = 2
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
MAX_NAMES: Final = 1024
MAX_ADDRESSES: Final = 64

Ip4 = tuple[str, int]
Ip6 = tuple[str, int, int, int]
AddrInfo = tuple[int, int, int, str, Ip4 | Ip6]
"""As `socket.getaddrinfo` returns: family, type, protocol, canonical name (empty), socket address."""


class ResolveError(Exception):
    """A name has no usable address; the message is for the operator's log."""


class Resolution(NamedTuple):
    """Result of a lookup: addresses in order of preference, and seconds until the first of them expires."""

    addresses: tuple[str, ...]
    ttl: float


Lookup = Callable[[str, bool], Awaitable[Resolution]]
"""`lookup(host, fresh)`; `fresh`: bypass lower caches. Raises `ResolveError`."""


class _Name:
    """Cache entry of one name; times are of the resolver's clock."""

    __slots__ = ("addresses", "error", "expires", "long_lived", "stale_until", "started", "task")

    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ()
        self.started = float("-inf")
        self.expires = float("-inf")
        self.stale_until = float("-inf")
        self.long_lived = False
        self.error = ""
        self.task: asyncio.Task[None] | None = None


class Resolver:
    """Resolver of one worker, bound to one event loop."""

    def __init__(
        self,
        servers: list[str] | None,
        min_ttl: float,
        max_ttl: float,
        clock: Callable[[], float],
        lookup: Lookup | None = None,
        *,
        refuse_private: bool = False,
    ) -> None:
        """Make a resolver without importing or opening anything.

        Parameters:
            servers: DNS servers as `ip`, `ip:port` or `[ip6]:port`; None for those of the system.
            min_ttl, max_ttl: bounds in seconds for the TTL of answers.
            clock: monotonic seconds.
            lookup: replacement of DNS for tests.
            refuse_private: drop addresses that are not public (`is_public`).
        """
        self._refuse_private = refuse_private
        self._min_ttl = min_ttl
        self._max_ttl = max_ttl
        self._clock = clock
        self._dns = None if lookup is not None else _Dns(servers)
        self._lookup: Lookup = lookup if lookup is not None else self._ask_dns
        self._names: dict[str, _Name] = {}

    def __repr__(self) -> str:
        asking = sum(1 for name in self._names.values() if name.task is not None)
        return f"<Resolver {len(self._names)} names, {asking} being asked for>"

    async def resolve(self, host: str, port: int) -> list[AddrInfo]:
        """Return the addresses of `host`, best first, at least one. Raises `ResolveError`."""
        literal = _family_of(host)
        if literal is not None:
            return [_addr_info(host, port)]
        name = self._names.get(host)
        if name is None:
            name = self._add_name(host)
        if self._clock() >= name.expires:
            await self._refresh(host, name)
        if self._clock() >= name.stale_until:
            raise ResolveError(f"{host}: {name.error or 'the lookup was given up'}")
        return [_addr_info(address, port) for address in name.addresses]

    async def retire(self) -> None:
        """Close after the lookups in flight."""
        try:
            while tasks := [name.task for name in self._names.values() if name.task is not None]:
                await asyncio.wait(tasks)
        finally:
            await self.close()

    async def close(self) -> None:
        """Cancel lookups in flight, and close the DNS sockets."""
        tasks = [name.task for name in self._names.values() if name.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._dns is not None:
            await self._dns.close()

    async def _ask_dns(self, host: str, fresh: bool) -> Resolution:
        assert self._dns is not None
        return await self._dns.ask(host, fresh)

    def _add_name(self, host: str) -> _Name:
        if len(self._names) >= MAX_NAMES:
            idle = next((known for known, name in self._names.items() if name.task is None), None)
            if idle is None:
                raise ResolveError(f"{host}: {MAX_NAMES} names are being asked for already")
            del self._names[idle]
        name = self._names[host] = _Name()
        return name

    async def _refresh(self, host: str, name: _Name) -> None:
        now = self._clock()
        if name.task is None:
            name.started = now
            name.task = asyncio.get_running_loop().create_task(self._update(host, name), name=f"dns {host}")
        timeout: float | None = None
        if now < name.stale_until:
            # There is a stale answer. After one failure, or one full wait, callers do not wait any more.
            timeout = 0.0 if name.error else name.started + STALE_WAIT_S - now
            if timeout <= 0:
                return
        # wait() does not cancel the task on a timeout, nor when its caller is cancelled.
        await asyncio.wait((name.task,), timeout=timeout)

    async def _update(self, host: str, name: _Name) -> None:
        try:
            answer = await self._lookup(host, name.long_lived)
            found = answer.addresses
            if self._refuse_private:
                found = tuple(address for address in found if is_public(ipaddress.ip_address(address)))
            if not found:
                raise ResolveError(f"the answer has no {'public ' * self._refuse_private}address")
        except ResolveError as error:
            name.error = str(error)
            name.expires = self._clock() + NEGATIVE_TTL_S
        else:
            name.error = ""
            name.addresses = found[:MAX_ADDRESSES]
            name.expires = self._clock() + min(max(answer.ttl, self._min_ttl), self._max_ttl)
            name.stale_until = name.expires + STALE_S
            name.long_lived = answer.ttl > self._max_ttl
        finally:
            name.task = None


class _Dns:
    """DNS through aiodns (c-ares)."""

    def __init__(self, servers: list[str] | None) -> None:
        self._servers = servers
        self._channel: aiodns.DNSResolver | None = None

    async def ask(self, host: str, fresh: bool) -> Resolution:
        """Look a name up in the hosts file and in DNS, IPv6 and IPv4 in parallel."""
        if fresh:
            # c-ares caches for the whole TTL, which is longer than max_ttl here; a new channel has an empty cache.
            channel = self._open()
            try:
                return await _query(channel, host)
            finally:
                await channel.close()
        if self._channel is None:
            self._channel = self._open()
        return await _query(self._channel, host)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def _open(self) -> "aiodns.DNSResolver":
        import aiodns
        import pycares

        try:
            return aiodns.DNSResolver(self._servers, timeout=LOOKUP_TIMEOUT_S, tries=LOOKUP_TRIES)
        except pycares.AresError as error:
            servers = ", ".join(self._servers or ["of the system"])
            raise ResolveError(f"the DNS servers {servers} cannot be used: {error.args[-1]}") from None


async def _query(channel: "aiodns.DNSResolver", host: str) -> Resolution:
    from aiodns.error import DNSError

    try:
        found = await channel.getaddrinfo(host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
    except DNSError as error:
        raise ResolveError(str(error.args[-1])) from None
    # pycares returns the text of an address as bytes, in the order of RFC 6724.
    addresses = tuple(node.addr[0].decode("ascii") for node in found.nodes)
    return Resolution(addresses, min((node.ttl for node in found.nodes), default=0))


def is_public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether an address is public; of one that embeds an IPv4 address, that address counts."""
    if ip.version == 6:
        inside = ip.ipv4_mapped or ip.sixtofour
        if inside is None and ip in _NAT64:
            inside = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inside is not None:
            return is_public(inside)
    return ip.is_global and not ip.is_multicast


def _family_of(host: str) -> int | None:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _addr_info(address: str, port: int) -> AddrInfo:
    if ":" in address:
        return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
