"""Chains of proxies in X-Forwarded-For and Forwarded (RFC 7239).

Rules of the file:

- Chains are read from the right, the end that the peer wrote, up to the first hop that is not a trusted proxy, or to
  the first entry that is not an address.
- X-Forwarded-For has precedence. `Forwarded` is read only without X-Forwarded-For: most proxies write the first and
  pass the second through unchanged.
"""

import re
from typing import Final

from propylon.http.host import HostError, parse_host
from propylon.http.trusted_proxies import UNIX_PEER, TrustedProxies

MAX_HOPS: Final = 32
"""Entries of a chain that are read. nginx and Envoy are bound by header limits only; real chains have under ten."""
SCHEMES: Final = {b"http": b"http", b"https": b"https", b"ws": b"http", b"wss": b"https"}
# One pair of RFC 7239, section 4, with its delimiter. Linear: no two alternatives start with the same byte.
_PAIR: Final = re.compile(
    rb"[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    rb'(?:([!#$%&\'*+.^_`|~0-9A-Za-z-]+)|"((?:[^"\\]|\\[\t -~\x80-\xff])*)"))?[ \t]*(;|,|\Z)'
)
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)


class Chain:
    """The trusted part of a chain: client first, peer last; scheme and host of the client's element, if any."""

    __slots__ = ("addresses", "host", "scheme")

    def __init__(self, addresses: list[bytes], scheme: bytes | None, host: bytes | None) -> None:
        self.addresses = addresses
        self.scheme = scheme
        self.host = host


class _Element:
    """The pairs of one forwarded-element that the gateway uses (RFC 7239, section 4)."""

    __slots__ = ("host", "node", "proto")

    def __init__(self, node: bytes, proto: bytes | None, host: bytes | None) -> None:
        self.node = node
        self.proto = proto
        self.host = host


def read_chain(peer: bytes, x_forwarded_for: list[bytes], forwarded: list[bytes], trusted: TrustedProxies) -> Chain:
    """Read the chain of a request from the right, up to the first hop that is not trusted, or not an address."""
    chain = Chain([trusted.canonical(peer)], None, None)
    if not trusted.contains(peer):
        return chain
    elements = _list_from_right(x_forwarded_for) if x_forwarded_for else _elements_from_right(forwarded)
    for element in elements:
        hop = trusted.hop(element.node)
        # `unix` is internal and not accepted from a header.
        if hop is None or hop.address == UNIX_PEER:
            break
        chain.addresses.insert(0, hop.address)
        chain.scheme = element.proto
        chain.host = element.host
        if not hop.trusted:
            break
    return chain


def _list_from_right(values: list[bytes]) -> list[_Element]:
    elements: list[_Element] = []
    for value in reversed(values):
        for entry in reversed(value.split(b",")):
            node = entry.strip(b" \t")
            if not node:  # RFC 9110, section 5.6.1.2: empty list elements are ignored
                continue
            if len(elements) == MAX_HOPS:
                return elements
            elements.append(_Element(node, None, None))
    return elements


def _elements_from_right(values: list[bytes]) -> list[_Element]:
    elements: list[_Element] = []
    for value in reversed(values):
        parsed = _parse_forwarded(value)
        if parsed is None:
            break
        elements.extend(reversed(parsed))
    return elements[:MAX_HOPS]


def _parse_forwarded(value: bytes) -> list[_Element] | None:
    """Parse one Forwarded line; None if any byte of it breaks the grammar, since then no element is reliable."""
    elements: list[_Element] = []
    pairs: dict[bytes, bytes] = {}
    position = 0
    end = b","
    while end:
        match = _PAIR.match(value, position)
        if match is None:
            return None
        position = match.end()
        name, token, quoted, end = match.group(1, 2, 3, 4)
        if name is not None:
            name = name.lower()
            if name in pairs:  # RFC 7239, section 4: each parameter at most once an element
                return None
            pairs[name] = token if token is not None else _QUOTED_PAIR.sub(rb"\1", quoted)
        if end != b";" and pairs:
            proto = SCHEMES.get(pairs.get(b"proto", b"").lower())
            elements.append(_Element(pairs.get(b"for", b""), proto, valid_host(pairs.get(b"host", b""))))
            pairs = {}
    return elements


def valid_host(value: bytes) -> bytes | None:
    """Return a forwarded host in canonical form, or None if it is not a valid host."""
    if not value:
        return None
    try:
        host = parse_host(value)
    except HostError:
        return None
    return host.name if host.port is None else b"%b:%b" % (host.name, host.port)
