"""The client of a connection: its address, its TLS session, and the forwarding fields for services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.http.forwarded import ForwardingRules, Origin, direct_origin, origin
from propylon.http.trusted_proxies import UNIX_PEER

if TYPE_CHECKING:
    import asyncio

    from propylon.engine.exchange import Exchange
    from propylon.http.host import Host
    from propylon.inbound.tls_session import TlsSession


class Peer:
    """The client of one connection.

    Attributes:
        address: its IP address, or `UNIX_PEER`.
        tls: its TLS session; `None` without TLS.
    """

    __slots__ = ("_cached", "_port", "_scheme", "address", "tls")

    def __init__(self, address: bytes, port: bytes, tls: TlsSession | None) -> None:
        """`port`: the destination port of the connection."""
        self.address = address
        self.tls = tls
        self._port = port
        self._scheme = b"http" if tls is None else b"https"
        self._cached: tuple[ForwardingRules, Host | None, Origin] | None = None

    @classmethod
    def of(cls, transport: asyncio.BaseTransport, proxied: tuple[bytes, bytes] | None) -> Peer:
        """Return the client of a transport; `proxied`: client address and destination port from a PROXY header."""
        tls = transport.get_extra_info("tls")
        if proxied is not None:
            return cls(*proxied, tls)
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if isinstance(peer, tuple):
            return cls(peer[0].encode("ascii"), b"%d" % local[1], tls)
        return cls(UNIX_PEER, b"80", tls)

    def origin(self, x: Exchange) -> Origin:
        """Return the origin of a request. For a client that is not a proxy it depends on Host only, and is cached."""
        rules = x.snapshot.forwarding
        cached = self._cached
        if cached is not None and cached[0] is rules and cached[1] == x.host and not x.fields.was_proxied:
            return cached[2]
        host = x.host.text if x.host is not None else b""
        if x.fields.was_proxied or rules.trusted.contains(self.address):
            found = origin(rules, self.address, self._scheme, host, self._port, x.fields.all)
        else:
            found = direct_origin(rules, self.address, self._scheme, host, self._port)
            self._cached = (rules, x.host, found)
        if self.tls is not None:
            found.block += self.tls.fields
        return found
