"""The client's identity and the forwarding fields: X-Forwarded-*, Forwarded (RFC 7239), Via (RFC 9110, 7.6.3).

Rules of the file:

- Claims of an untrusted hop are dropped, wherever they stand in a chain. Chains are read from the right, the end that
  the peer wrote, up to the first hop that is not a trusted proxy, or to the first entry that is not an address.
  Services get the part that was read, so even a service that trusts the leftmost entry sees no forged address.
- X-Forwarded-For has precedence. `Forwarded` is read only without X-Forwarded-For: most proxies write the first and
  pass the second through unchanged.
- Addresses have one canonical form, since limits, logs and access rules compare them as bytes.
- Other fields by which proxies tell about the client are in `claims.py`.
- Via makes no claim of identity and serves loop detection, so its chain is kept from any sender.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Final

from propylon.http.host import HostError, parse_host

UNIX_PEER: Final = b"unix"
"""The peer of a connection over a Unix socket; it is trusted if `unix` is listed among the trusted proxies."""

MAX_HOPS: Final = 32
"""Entries of a chain that are read. nginx and Envoy are bound by header limits only; real chains have under ten."""
MAX_CACHED: Final = 4096
"""Entries in the cache of a `TrustedProxies`; it is cleared when full, so that peers cannot make it grow."""

_PORT: Final = re.compile(rb"[1-9][0-9]{0,4}")
_NODE: Final = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?")
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# One pair of RFC 7239, section 4, with its delimiter. Linear: no two alternatives start with the same byte.
_PAIR: Final = re.compile(
    rb"[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    rb'(?:([!#$%&\'*+.^_`|~0-9A-Za-z-]+)|"((?:[^"\\]|\\[\t -~\x80-\xff])*)"))?[ \t]*(;|,|\Z)'
)
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
_SCHEMES: Final = {b"http": b"http", b"https": b"https", b"ws": b"http", b"wss": b"https"}
_DEFAULT_PORTS: Final = {b"http": b"80", b"https": b"443"}


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

    def _read(self, entry: bytes) -> Hop | None:
        if entry == UNIX_PEER:
            return Hop(entry, self._unix)
        address = _address(entry)
        if address is None:
            return None
        trusted = any(address.version == network.version and address in network for network in self._networks)
        return Hop(str(address).encode("ascii"), trusted)


class ForwardingRules:
    """Which forwarding fields services get. `via`: the gateway's pseudonym, or None to leave Via unchanged."""

    __slots__ = ("standard", "trusted", "via", "x_forwarded")

    def __init__(self, *, x_forwarded: bool, standard: bool, via: bytes | None, trusted: TrustedProxies) -> None:
        if via is not None and _TOKEN.fullmatch(via) is None:
            raise ValueError("a Via pseudonym is a token: letters, digits and !#$%&'*+.^_`|~- (RFC 9110, 7.6.3)")
        self.x_forwarded = x_forwarded
        self.standard = standard
        self.via = via
        self.trusted = trusted


class Origin:
    """The verified origin of a request, and the forwarding fields for the service.

    `client`: canonical address, or b"unix". `block`: whole lines, each with its CRLF; empty if nothing is sent.
    `by_proxy`: whether the peer is a trusted proxy, whose claims are taken.
    """

    __slots__ = ("block", "by_proxy", "client", "host", "scheme")

    def __init__(self, client: bytes, scheme: bytes, host: bytes, block: bytes, *, by_proxy: bool = False) -> None:
        self.client = client
        self.scheme = scheme
        self.host = host
        self.block = block
        self.by_proxy = by_proxy


class _Chain:
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


def direct_origin(rules: ForwardingRules, peer: bytes, scheme: bytes, host: bytes, port: bytes) -> Origin:
    """Return the origin of a request whose peer is not a trusted proxy and which has no Via header.

    It depends on the arguments only, so a connection may cache it. `host`: the canonical authority, with port if it
    had one, or b"" if there was none; `port`: decimal, of the listener.
    """
    client = _canonical(peer, rules.trusted)
    return Origin(client, scheme, host, _block(rules, [client], scheme, host, port) + _via(rules.via, []))


def origin(
    rules: ForwardingRules, peer: bytes, scheme: bytes, host: bytes, port: bytes, fields: Callable[[bytes], list[bytes]]
) -> Origin:
    """Return the origin of any request. `fields(name)` returns the values of a field, one item a line, in order."""
    via = fields(b"via")
    if not rules.trusted.contains(peer):
        client = _canonical(peer, rules.trusted)
        return Origin(client, scheme, host, _block(rules, [client], scheme, host, port) + _via(rules.via, via))
    chain = _chain(peer, fields(b"x-forwarded-for"), fields(b"forwarded"), rules.trusted)
    forwarded_scheme = _SCHEMES.get(_last(fields(b"x-forwarded-proto")).lower(), chain.scheme)
    forwarded_host = _valid_host(_last(fields(b"x-forwarded-host"))) or chain.host
    forwarded_port = _last(fields(b"x-forwarded-port"))
    out_scheme = forwarded_scheme or scheme
    out_host = forwarded_host or host
    if not _is_port(forwarded_port):
        # The listener's own port is not the public one if a proxy has sent scheme or host.
        forwarded_port = port if forwarded_scheme is None and forwarded_host is None else _port_of(out_host, out_scheme)
    block = _block(rules, chain.addresses, out_scheme, out_host, forwarded_port)
    return Origin(chain.addresses[0], out_scheme, out_host, block + _via(rules.via, via), by_proxy=True)


def via_loops(values: Sequence[bytes], name: bytes) -> bool:
    """Return whether a request has passed the gateway `name` before: its pseudonym is in a Via member.

    A comma inside a comment may start a false member; the only effect is that the client's own request is refused.
    """
    pseudonym = name.lower()
    for value in values:
        lowered = value.lower()
        if pseudonym not in lowered:
            continue
        for member in lowered.split(b","):
            words = member.split(None, 2)
            if len(words) > 1 and words[1] == pseudonym:
                return True
    return False


def _block(rules: ForwardingRules, addresses: list[bytes], scheme: bytes, host: bytes, port: bytes) -> bytes:
    block = b""
    if rules.x_forwarded:
        # "unknown" is the convention where there is no address (a Unix socket).
        chain = b", ".join([b"unknown" if address == UNIX_PEER else address for address in addresses])
        block = b"x-forwarded-for: %b\r\nx-forwarded-proto: %b\r\nx-forwarded-port: %b\r\n" % (chain, scheme, port)
        if host:  # HTTP/1.0 may come without
            block += b"x-forwarded-host: %b\r\n" % host
    if rules.standard:
        nodes = [b"for=" + _node(address) for address in addresses]
        # Scheme and host are those the client used, so they belong to its element (RFC 7239, 5.3 and 5.4).
        nodes[0] += b";proto=" + scheme
        if host:
            nodes[0] += b";host=" + (host if _TOKEN.fullmatch(host) else b'"%b"' % host)
        block += b"forwarded: %b\r\n" % b", ".join(nodes)
    return block


def _via(name: bytes | None, values: list[bytes]) -> bytes:
    members = [value for value in values if value]
    if name is not None:
        members.append(b"1.1 " + name)
    return b"via: %b\r\n" % b", ".join(members) if members else b""


def _node(address: bytes) -> bytes:
    """Return an address in the syntax of RFC 7239, section 6: IPv6 in brackets and, for its colons, quoted."""
    if address == UNIX_PEER:
        return b"unknown"
    return b'"[%b]"' % address if b":" in address else address


def _chain(peer: bytes, x_forwarded_for: list[bytes], forwarded: list[bytes], trusted: TrustedProxies) -> _Chain:
    chain = _Chain([_canonical(peer, trusted)], None, None)
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


def _canonical(peer: bytes, trusted: TrustedProxies) -> bytes:
    hop = trusted.hop(peer)
    return peer if hop is None else hop.address


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
            proto = _SCHEMES.get(pairs.get(b"proto", b"").lower())
            elements.append(_Element(pairs.get(b"for", b""), proto, _valid_host(pairs.get(b"host", b""))))
            pairs = {}
    return elements


def _last(values: list[bytes]) -> bytes:
    """Return the rightmost list member: the one that the peer wrote or passed on."""
    return values[-1].rpartition(b",")[2].strip(b" \t") if values else b""


def _valid_host(value: bytes) -> bytes | None:
    """Return a forwarded host in canonical form, or None if it is not a valid host."""
    if not value:
        return None
    try:
        host = parse_host(value)
    except HostError:
        return None
    return host.name if host.port is None else b"%b:%b" % (host.name, host.port)


def _port_of(host: bytes, scheme: bytes) -> bytes:
    port = parse_host(host).port if host else None
    return _DEFAULT_PORTS.get(scheme, b"80") if port is None else port


def _is_port(value: bytes) -> bool:
    return _PORT.fullmatch(value) is not None and (len(value) < 5 or value <= b"65535")


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
