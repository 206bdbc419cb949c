"""What is known of one TLS connection: its names, its cipher, its client; and which requests it is good for.

A TLS connection is opened for one name and decided upon by it: the certificate, and with it what client certificates
are asked for. A request that says another name in Host would get round that decision, so it is refused with 421 where
the decision could have been another one (RFC 9110 15.5.20).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from propylon.engine.errors import GatewayError
from propylon.inbound.client_certificate import certificate_fields, client_certificate

if TYPE_CHECKING:
    import ssl

    from propylon.engine.client_certificate import ClientCertificate
    from propylon.engine.exchange import Exchange
    from propylon.http.host import Host
    from propylon.inbound.tls import Identities


class TlsSession:
    """One TLS connection of a client.

    Attributes:
        server_name: what the client asked for (SNI), lower case; None if it named nothing.
    """

    def __init__(self, tls: ssl.SSLObject, identities: Identities, server_name: str | None) -> None:
        self._tls = tls
        self._identities = identities
        self._agreed: Host | None = None
        self.server_name = server_name

    @property
    def version(self) -> str:
        """The protocol's version, as `TLSv1.3`."""
        return self._tls.version() or "unknown"

    @property
    def cipher(self) -> str:
        """OpenSSL's name of the cipher suite."""
        found = self._tls.cipher()
        return found[0] if found is not None else "unknown"

    @cached_property
    def client_certificate(self) -> ClientCertificate | None:
        """The client's verified certificate; read once, when it is asked for."""
        return client_certificate(self._tls) if self._identities.authorities is not None else None

    @cached_property
    def fields(self) -> bytes:
        """The header lines that tell services about the client's certificate; empty unless they shall."""
        return certificate_fields(self.client_certificate) if self._identities.tells_services else b""

    def admit(self, x: Exchange) -> GatewayError | None:
        """Refuse a request for another host than the connection is for: `admit.misdirected`."""
        host = x.host
        if host is None or host is self._agreed:
            return None
        if not self._agrees(host.name.decode("ascii")):
            return GatewayError("admit.misdirected", "this connection was opened for another host name")
        self._agreed = host
        return None

    def _agrees(self, host: str) -> bool:
        identities, name = self._identities, self.server_name
        if name is not None and host == name:
            return True
        if identities.authorities is not None:
            return name is None and identities.choose(host) is identities.choose(None)
        return name is None or identities.choose(host) is identities.choose(name)
