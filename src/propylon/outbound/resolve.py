"""Name resolution for endpoints: at the opening of a connection, and when the TTL of the answer ends.

Rules of the file:

- An answer is cached for its TTL, clamped to the configured bounds. Lookups are single-flight: one for all callers.
- While there are connections to a name, it is looked up again when its TTL ends (`current`), and nobody waits for that.
- If one family fails (`dns.py`), the addresses of the other one serve, with the last ones of the failed family.
- If DNS fails, the last good answer is used for up to `STALE_S` (RFC 8767), and callers wait at most `STALE_WAIT_S`
  for the failing lookup. A name without an earlier answer fails at once for `NEGATIVE_TTL_S`.
- Memory is bounded: the number of names, of addresses for a name, and of lookups that nobody waits for.
- The DNS library is imported at the first name; an address never needs it. It reads /etc/hosts and
  /etc/resolv.conf (search domains too), and answers `localhost` itself (RFC 6761, section 6.3).
"""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from propylon.outbound.dns import PARTIAL_TTL_S, Dns, Resolution, ResolveError

NEGATIVE_TTL_S: Final = 1.0
"""Seconds that a failure is cached. nginx and Envoy: 0 to 5 s."""
STALE_S: Final = 3600.0
"""Seconds after expiry that an answer is used while lookups fail. RFC 8767 allows days; hosts get renumbered."""
STALE_WAIT_S: Final = 0.25
"""Seconds to wait for a fresh answer when there is a stale one. RFC 8767, section 5, suggests 1.8."""
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
MAX_NAMES: Final = 1024
MAX_ADDRESSES: Final = 64
MAX_BACKGROUND: Final = 64
"""Maximum number of lookups in flight with which another one is started that nobody waits for."""

log = logging.getLogger("propylon.outbound")

Ip4 = tuple[str, int]
Ip6 = tuple[str, int, int, int]
AddrInfo = tuple[int, int, int, str, Ip4 | Ip6]
"""As `socket.getaddrinfo` returns: family, type, protocol, canonical name (empty), socket address."""


Lookup = Callable[[str], Awaitable[Resolution]]
"""`lookup(host)` raises `ResolveError`."""


class _Name:
    """Cache entry of one name; times are of the resolver's clock.

    Attributes:
        whole_until: the end of the use of its addresses of a family that has failed since.
    """

    __slots__ = ("addresses", "error", "expires", "stale_until", "started", "task", "whole_until")

    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ()
        self.started = float("-inf")
        self.expires = float("-inf")
        self.stale_until = self.whole_until = float("-inf")
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
        self._dns = None if lookup is not None else Dns(servers, clock)
        self._lookup: Lookup = lookup if lookup is not None else self._ask_dns
        self._names: dict[str, _Name] = {}
        self._asking = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<Resolver {len(self._names)} names, {self._asking} being asked for>"

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

    def current(self, host: str) -> tuple[str, ...]:
        """Return the last known addresses of a name, possibly none; if their TTL is over, start a lookup."""
        name = self._names.get(host)
        if name is None:
            if self._closed or len(self._names) >= MAX_NAMES:  # evicting a name would have it asked for again and again
                return ()
            name = self._add_name(host)
        if self._clock() >= name.expires and self._asking < MAX_BACKGROUND and not self._closed:
            self._start(host, name)
        return name.addresses

    async def retire(self) -> None:
        """Close after the lookups in flight."""
        try:
            while tasks := [name.task for name in self._names.values() if name.task is not None]:
                await asyncio.wait(tasks)
        finally:
            await self.close()

    async def close(self) -> None:
        """Cancel lookups in flight, and close the DNS sockets."""
        self._closed = True
        tasks = [name.task for name in self._names.values() if name.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._dns is not None:
            await self._dns.close()

    async def _ask_dns(self, host: str) -> Resolution:
        assert self._dns is not None
        return await self._dns.ask(host)

    def _add_name(self, host: str) -> _Name:
        if len(self._names) >= MAX_NAMES:
            idle = next((known for known, name in self._names.items() if name.task is None), None)
            if idle is None:
                raise ResolveError(f"{host}: {MAX_NAMES} names are being asked for already")
            del self._names[idle]
        name = self._names[host] = _Name()
        return name

    def _start(self, host: str, name: _Name) -> asyncio.Task[None]:
        """Start a lookup, if there is none in flight."""
        if name.task is None:
            name.started = self._clock()
            self._asking += 1
            name.task = asyncio.get_running_loop().create_task(self._update(host, name), name=f"dns {host}")
            name.task.add_done_callback(self._asked)
        return name.task

    def _asked(self, _: asyncio.Task[None]) -> None:
        self._asking -= 1

    async def _refresh(self, host: str, name: _Name) -> None:
        now = self._clock()
        task = self._start(host, name)
        timeout: float | None = None
        if now < name.stale_until:
            # There is a stale answer. After one failure, or one full wait, callers do not wait any more.
            timeout = 0.0 if name.error else name.started + STALE_WAIT_S - now
            if timeout <= 0:
                return
        # wait() does not cancel the task on a timeout, nor when its caller is cancelled.
        await asyncio.wait((task,), timeout=timeout)

    async def _update(self, host: str, name: _Name) -> None:
        try:
            answer = await self._lookup(host)
            found = answer.addresses
            if self._refuse_private:
                found = tuple(address for address in found if is_public(ipaddress.ip_address(address)))
            if not found:
                raise ResolveError(answer.error or f"the answer has no {'public ' * self._refuse_private}address")
        except ResolveError as error:
            name.error = str(error)
            name.expires = self._clock() + NEGATIVE_TTL_S
        else:
            self._take(host, name, answer, found)
        finally:
            name.task = None

    def _take(self, host: str, name: _Name, answer: Resolution, found: tuple[str, ...]) -> None:
        """Keep an answer whose usable addresses are `found`."""
        now, ttl = self._clock(), answer.ttl
        if answer.failed is None:
            name.whole_until = now + STALE_S
        else:
            ttl = min(ttl, PARTIAL_TTL_S)
            known = name.addresses if now < name.whole_until else ()
            last = [address for address in known if _family_of(address) == answer.failed]
            found = (*last, *found) if answer.failed == socket.AF_INET6 else (*found, *last)
            if not name.error:
                log.warning("%s: %s; the other addresses serve", host, answer.error)
        name.error = answer.error
        name.addresses = found[:MAX_ADDRESSES]
        name.expires = now + min(max(ttl, self._min_ttl), self._max_ttl)
        name.stale_until = name.expires + STALE_S


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
