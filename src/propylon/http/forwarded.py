"""The client's identity and the forwarding fields: X-Forwarded-*, Forwarded (RFC 7239), Via (RFC 9110, 7.6.3).

Rules of the file:

- Claims of an untrusted hop are dropped, wherever they stand in a chain (`forwarded_chain.py`). Services get the part
  of the chain that was read, so even a service that trusts the leftmost entry sees no forged address.
- Other fields by which proxies tell about the client are in `claims.py`.
- Via makes no claim of identity and serves loop detection, so its chain is kept from any sender.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from propylon.http.forwarded_chain import SCHEMES, read_chain, valid_host
from propylon.http.host import parse_host
from propylon.http.trusted_proxies import UNIX_PEER, TrustedProxies

_PORT: Final = re.compile(rb"[1-9][0-9]{0,4}")
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_DEFAULT_PORTS: Final = {b"http": b"80", b"https": b"443"}


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


def direct_origin(rules: ForwardingRules, peer: bytes, scheme: bytes, host: bytes, port: bytes) -> Origin:
    """Return the origin of a request whose peer is not a trusted proxy and which has no Via header.

    It depends on the arguments only, so a connection may cache it. `host`: the canonical authority, with port if it
    had one, or b"" if there was none; `port`: decimal, of the listener.
    """
    client = rules.trusted.canonical(peer)
    return Origin(client, scheme, host, _block(rules, [client], scheme, host, port) + _via(rules.via, []))


def origin(
    rules: ForwardingRules, peer: bytes, scheme: bytes, host: bytes, port: bytes, fields: Callable[[bytes], list[bytes]]
) -> Origin:
    """Return the origin of any request. `fields(name)` returns the values of a field, one item a line, in order."""
    via = fields(b"via")
    if not rules.trusted.contains(peer):
        client = rules.trusted.canonical(peer)
        return Origin(client, scheme, host, _block(rules, [client], scheme, host, port) + _via(rules.via, via))
    chain = read_chain(peer, fields(b"x-forwarded-for"), fields(b"forwarded"), rules.trusted)
    forwarded_scheme = SCHEMES.get(_last(fields(b"x-forwarded-proto")).lower(), chain.scheme)
    forwarded_host = valid_host(_last(fields(b"x-forwarded-host"))) or chain.host
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


def _last(values: list[bytes]) -> bytes:
    """Return the rightmost list member: the one that the peer wrote or passed on."""
    return values[-1].rpartition(b",")[2].strip(b" \t") if values else b""


def _port_of(host: bytes, scheme: bytes) -> bytes:
    port = parse_host(host).port if host else None
    return _DEFAULT_PORTS.get(scheme, b"80") if port is None else port


def _is_port(value: bytes) -> bool:
    return _PORT.fullmatch(value) is not None and (len(value) < 5 or value <= b"65535")
