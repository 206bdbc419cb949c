"""Who the client of a connection is: its address, what it has proved, and what services are told about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.http.forwarded import UNIX_PEER, ForwardingRules, Origin, direct_origin, origin

if TYPE_CHECKING:
    import asyncio

    from propylon.engine.exchange import Exchange
    from propylon.http.host import Host
    from propylon.inbound.tls_session import TlsSession


class Peer:
    """The client of one connection.

    Attributes:
        address: its IP address, or `UNIX_PEER`.
        tls: what its handshake has led to; `None` without TLS.
    """

    __slots__ = ("_known", "_port", "_scheme", "address", "tls")

    def __init__(self, address: bytes, port: bytes, tls: TlsSession | None) -> None:
        """`port` is the one that the client has connected to."""
        self.address = address
        self.tls = tls
        self._port = port
        self._scheme = b"http" if tls is None else b"https"
        self._known: tuple[ForwardingRules, Host | None, Origin] | None = None

    @classmethod
    def of(cls, transport: asyncio.BaseTransport, told: tuple[bytes, bytes] | None) -> Peer:
        """Return the client that a transport leads to; `told`: address and port as a PROXY header says."""
        tls = transport.get_extra_info("tls")
        if told is not None:
            return cls(*told, tls)
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if isinstance(peer, tuple):
            return cls(peer[0].encode("ascii"), b"%d" % local[1], tls)
        return cls(UNIX_PEER, b"80", tls)

    def origin(self, x: Exchange) -> Origin:
        """Tell who the client is. For a client that is no proxy it depends on the Host alone, and is kept."""
        rules = x.snapshot.forwarding
        known = self._known
        if known is not None and known[0] is rules and known[1] == x.host and not x.fields.was_proxied:
            return known[2]
        host = x.host.text if x.host is not None else b""
        if x.fields.was_proxied or rules.trusted.contains(self.address):
            found = origin(rules, self.address, self._scheme, host, self._port, x.fields.all)
        else:
            found = direct_origin(rules, self.address, self._scheme, host, self._port)
            self._known = (rules, x.host, found)
        if self.tls is not None:
            found.block += self.tls.fields
        return found
