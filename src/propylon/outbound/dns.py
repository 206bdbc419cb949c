"""Lookups of a name in DNS and in the hosts file, IPv6 and IPv4 in parallel, by aiodns (c-ares).

Rules of the file:

- The families are queried separately: in a common answer a failure of one is not told from a lack of addresses, or
  takes the other one with it. That a family has no address (NODATA, NXDOMAIN) is an answer, and no failure.
- What was found is not held back by a family that is silent (RFC 8305, section 3): once one has addresses, the other
  has `FAMILY_WAIT_S` left.
- The DNS library is imported with the first lookup.
"""

from __future__ import annotations

import asyncio
import socket
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import aiodns

LOOKUP_TIMEOUT_S: Final = 2.0
"""Seconds until a query is repeated. c-ares and glibc wait 2 and 5 s."""
LOOKUP_TRIES: Final = 2
CHANNEL_S: Final = 1.0
"""Seconds that a channel of c-ares is used. Its cache keeps answers for their whole TTL, and for an hour that there is
no address (a NODATA without SOA), beyond the bounds configured here; and it cannot be switched off. A channel for each
lookup would need a thread and an inotify instance for each of those at the same time."""
FAMILY_WAIT_S: Final = 0.25
"""Seconds to wait for the second family when the first has answered. RFC 8305, section 3, recommends 50 ms."""
PARTIAL_TTL_S: Final = 5.0
"""Maximum seconds that an answer of one family is used without asking again for the other, which has failed."""
NAMES: Final = {socket.AF_INET6: "IPv6", socket.AF_INET: "IPv4"}


class ResolveError(Exception):
    """A name has no usable address; the message is for the operator's log."""


class Resolution(NamedTuple):
    """Result of a lookup.

    Attributes:
        addresses: in order of preference, IPv6 first.
        ttl: seconds until the first of them expires.
        failed: the family without an answer, if the other one has addresses.
        error: why it has none.
    """

    addresses: tuple[str, ...]
    ttl: float
    failed: socket.AddressFamily | None = None
    error: str = ""


class FamilyAnswer(NamedTuple):
    """The answer for one family.

    Attributes:
        family: `AF_INET6` or `AF_INET`.
        addresses: as text, in order of preference.
        ttl: seconds until the first of them expires; infinite for no address.
        error: why there is no answer; empty if there is one.
    """

    family: socket.AddressFamily
    addresses: tuple[str, ...]
    ttl: float
    error: str = ""


async def ask(
    channel: aiodns.DNSResolver, host: str, families: Sequence[socket.AddressFamily] = tuple(NAMES)
) -> list[FamilyAnswer]:
    """Return the answer of each family, in the order of `families`."""
    tasks = {asyncio.ensure_future(_ask_one(channel, host, family)): family for family in families}
    pending = set(tasks)
    try:
        timeout = None
        while pending:
            done, pending = await asyncio.wait(pending, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
            if timeout is None and any(task.result().addresses for task in done):
                timeout = FAMILY_WAIT_S
    finally:
        for task in pending:
            task.cancel()
    silent = f"no answer within {FAMILY_WAIT_S:g} s of the other family's"
    return [
        FamilyAnswer(family, (), inf, silent) if task in pending else task.result() for task, family in tasks.items()
    ]


def failure(answers: Sequence[FamilyAnswer]) -> str:
    """Return which families have failed, and why; empty if none has."""
    return "; ".join(f"{NAMES[each.family]} addresses: {each.error}" for each in answers if each.error)


async def _ask_one(channel: aiodns.DNSResolver, host: str, family: socket.AddressFamily) -> FamilyAnswer:
    from aiodns.error import ARES_ENODATA, ARES_ENOTFOUND, DNSError

    try:
        found = await channel.getaddrinfo(host, family=family, type=socket.SOCK_STREAM)
    except DNSError as error:
        if error.args[0] in (ARES_ENODATA, ARES_ENOTFOUND):
            return FamilyAnswer(family, (), inf)
        return FamilyAnswer(family, (), inf, str(error.args[-1]))
    # pycares returns the text of an address as bytes, in the order of RFC 6724.
    addresses = tuple(node.addr[0].decode("ascii") for node in found.nodes)
    return FamilyAnswer(family, addresses, min((node.ttl for node in found.nodes), default=inf))


class _Channel:
    """A channel of c-ares: its sockets, and its cache."""

    __slots__ = ("opened", "resolver", "users")

    def __init__(self, resolver: aiodns.DNSResolver, opened: float) -> None:
        self.resolver = resolver
        self.opened = opened
        self.users = 0


class Dns:
    """DNS through aiodns (c-ares)."""

    def __init__(self, servers: list[str] | None, clock: Callable[[], float]) -> None:
        self._servers = servers
        self._clock = clock
        self._channel: _Channel | None = None

    async def ask(self, host: str) -> Resolution:
        """Look a name up in the hosts file and in DNS."""
        used = self._channel
        if used is None or self._clock() - used.opened >= CHANNEL_S:
            old, used = used, _Channel(self._open(), self._clock())
            self._channel = used
            await self._close_unused(old)
        used.users += 1
        try:
            return await _query(used.resolver, host)
        finally:
            used.users -= 1
            if used is not self._channel:
                await self._close_unused(used)

    async def close(self) -> None:
        old, self._channel = self._channel, None
        await self._close_unused(old)

    async def _close_unused(self, channel: _Channel | None) -> None:
        if channel is not None and not channel.users:
            await channel.resolver.close()

    def _open(self) -> aiodns.DNSResolver:
        import aiodns
        import pycares

        try:
            return aiodns.DNSResolver(self._servers, timeout=LOOKUP_TIMEOUT_S, tries=LOOKUP_TRIES)
        except pycares.AresError as error:
            servers = ", ".join(self._servers or ["of the system"])
            raise ResolveError(f"the DNS servers {servers} cannot be used: {error.args[-1]}") from None


async def _query(channel: aiodns.DNSResolver, host: str) -> Resolution:
    answers = await ask(channel, host)
    error = failure(answers)
    addresses = tuple(address for answer in answers for address in answer.addresses)
    if not addresses:
        raise ResolveError(error or "no such name, or it has no address")
    failed = next((answer.family for answer in answers if answer.error), None)
    return Resolution(addresses, min(answer.ttl for answer in answers), failed, error)
