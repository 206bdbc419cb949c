"""The session of one TLS connection: name, cipher, client certificate; and which hosts it is valid for.

The server name of a TLS connection decides its certificate, and access by client certificate. A request with another
Host would bypass that decision, so it is refused with 421 where the decision could differ (RFC 9110 15.5.20).
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
        server_name: the requested name (SNI), lower case; None without SNI.
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
        """The client's verified certificate; parsed at the first access."""
        return client_certificate(self._tls) if self._identities.authorities is not None else None

    @cached_property
    def fields(self) -> bytes:
        """The header fields for services about the client's certificate; empty unless configured."""
        return certificate_fields(self.client_certificate) if self._identities.tells_services else b""

    def admit(self, x: Exchange) -> GatewayError | None:
        """Refuse a request for a host that the connection is not valid for: `admit.misdirected`."""
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
