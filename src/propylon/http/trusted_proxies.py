"""Addresses of peers and in chains of proxies, and which of them are trusted proxies.

Addresses have one canonical form, since limits, logs and access rules compare them as bytes.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

UNIX_PEER: Final = b"unix"
"""The peer of a connection over a Unix socket; it is trusted if `unix` is listed among the trusted proxies."""

MAX_CACHED: Final = 4096
"""Entries in the cache of a `TrustedProxies`; it is cleared when full, so that peers cannot make it grow."""

_NODE: Final = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?")


class Hop:
    """One address of a chain: canonical text, and whether it is a trusted proxy."""

    __slots__ = ("address", "trusted")

    def __init__(self, address: bytes, trusted: bool) -> None:
        self.address = address
        self.trusted = trusted


class TrustedProxies:
    """The networks of trusted proxies. `cidrs`: addresses, networks, or the word `unix`.

    Raises ValueError for an entry that is none of these, or a network with host bits set.
    """

    __slots__ = ("_hops", "_networks", "_unix")

    def __init__(self, cidrs: Sequence[str]) -> None:
        self._unix = "unix" in cidrs
        self._networks = [ipaddress.ip_network(cidr) for cidr in cidrs if cidr != "unix"]
        self._hops: dict[bytes, Hop | None] = {}

    def contains(self, ip: bytes) -> bool:
        """Return whether the peer or entry `ip` is a trusted proxy; False if it is not an address."""
        hop = self.hop(ip)
        return hop is not None and hop.trusted

    def hop(self, entry: bytes) -> Hop | None:
        """Parse one entry of a chain: address, address:port, [IPv6]:port. None for anything else."""
        if entry in self._hops:
            return self._hops[entry]
        if len(self._hops) >= MAX_CACHED:
            self._hops.clear()
        hop = self._hops[entry] = self._read(entry)
        return hop

    def canonical(self, peer: bytes) -> bytes:
        """Return the canonical address of a peer; its name if it has no address."""
        hop = self.hop(peer)
        return peer if hop is None else hop.address

    def _read(self, entry: bytes) -> Hop | None:
        if entry == UNIX_PEER:
            return Hop(entry, self._unix)
        address = _address(entry)
        if address is None:
            return None
        trusted = any(address.version == network.version and address in network for network in self._networks)
        return Hop(str(address).encode("ascii"), trusted)


def _address(entry: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an address with or without port. IPv4-mapped IPv6 becomes IPv4; zones are dropped."""
    match = _NODE.fullmatch(entry)
    text: bytes = (match.group(1) or match.group(2)) if match is not None else entry
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    return address
