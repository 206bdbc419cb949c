"""TLS with clients: choice of certificate, versions and ciphers, client certificates.

Rules of the file:

- TLS 1.2 and newer (RFC 8996) with forward secrecy and authenticated encryption only (RFC 9325 4.2); HTTP/1.1 by ALPN.
- One base context starts every handshake of a listener and lives as long as it. It has the keys of session tickets, so
  sessions resume with any certificate, and after certificates were replaced.
- Client certificates are configured for a listener, never for a name: a session of one name can be resumed under
  another, and would bypass the other's requirement (CVE-2025-23419 in nginx).
"""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from propylon.inbound.tls_failures import TlsFailures
from propylon.inbound.tls_session import TlsSession
from propylon.tls import ALPN, TlsError, load_identity, read
from propylon.x509 import Certificate, read_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from propylon.config.schema import ListenerTlsConfig

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; all those of TLS 1.3 are acceptable

log = logging.getLogger("propylon.tls")


class Identity(NamedTuple):
    """A certificate with its key: the files and the parsed certificate."""

    certificate_path: str
    key_path: str | None
    certificate: Certificate

    @property
    def files(self) -> Iterator[str]:
        """The files that it is read from."""
        yield self.certificate_path
        if self.key_path is not None:
            yield self.key_path

    def warning(self, now: datetime) -> str | None:
        """Return a warning if it is not valid at `now`: clients will refuse it."""
        if now > self.certificate.not_after:
            return f"certificate {self.certificate_path!r} has expired on {self.certificate.not_after:%Y-%m-%d}"
        if now < self.certificate.not_before:
            return f"certificate {self.certificate_path!r} is not valid before {self.certificate.not_before:%Y-%m-%d}"
        return None


class Identities:
    """The certificates of a listener by name; immutable.

    Attributes:
        authorities: the CAs for client certificates; None if none are requested.
        certificates: all certificates, the default first.
        tells_services: whether services get the client's certificate in header fields.
    """

    __slots__ = ("_contexts", "_default", "authorities", "certificates", "tells_services")

    def __init__(self, config: ListenerTlsConfig) -> None:
        """Read all files. Raises `TlsError` with a sentence that names the file."""
        asked = config.client_certificates
        self.authorities = None if asked is None else read(str(asked.ca), "ca")
        self.tells_services = asked is not None and asked.headers
        self.certificates = _read_identities(config.pairs)
        by_name: dict[str, list[Identity]] = {}
        for identity in self.certificates:
            for name in identity.certificate.dns_names:
                by_name.setdefault(name, []).append(identity)
        made: dict[tuple[Identity, ...], ssl.SSLContext] = {}
        for identities in by_name.values():
            key = tuple(identities)
            if key not in made:
                made[key] = _context_of(config, key)
        self._contexts = {name: made[tuple(identities)] for name, identities in by_name.items()}
        first = self.certificates[0]
        names = first.certificate.dns_names
        self._default = self._contexts[names[0]] if names else _context_of(config, (first,))

    def choose(self, name: str | None) -> ssl.SSLContext:
        """Return the context for a lower-case name: exact, wildcard (one label), or the default."""
        return self._default if name is None else self.find(name) or self._default

    def find(self, name: str) -> ssl.SSLContext | None:
        """Return the context of a certificate for this lower-case name, exact or wildcard; None if there is none."""
        return self._contexts.get(name) or self._contexts.get(f"*.{name.partition('.')[2]}")


class ServerSide(ssl.SSLObject):
    """A server-side TLS object with the data of the SNI callback.

    Attributes:
        identities: the certificates at the time of the handshake.
        server_name: the name that the client requested (SNI).
    """

    identities: Identities
    server_name: str | None = None


class ListenerTls:
    """TLS of one listener: base context, certificates, failure counts.

    Attributes:
        outgoing: the buffer that OpenSSL writes to, shared by all connections (see `tls_transport.py`).
    """

    __slots__ = ("_address", "_base_context", "_config", "failures", "identities", "outgoing")

    def __init__(self, config: ListenerTlsConfig, address: str) -> None:
        """Read all files of `config`; `address` names the listener in the log. Raises `TlsError`."""
        self._config = config
        self.outgoing = ssl.MemoryBIO()
        self.failures = TlsFailures(address)
        self.identities = Identities(config)
        self._base_context = self._new_base_context(config)
        self._address = address
        self._warn(self.identities)

    @property
    def files(self) -> list[str]:
        """All files that were read."""
        asked = self._config.client_certificates
        authorities = [] if asked is None else [str(asked.ca)]
        return [*authorities, *(path for identity in self.identities.certificates for path in identity.files)]

    def wrap(self, incoming: ssl.MemoryBIO) -> ssl.SSLObject:
        """Return the TLS object of a new connection that reads from `incoming`."""
        return self._base_context.wrap_bio(incoming, self.outgoing, server_side=True)

    def session(self, tls: ssl.SSLObject) -> TlsSession:
        """Return the session of a connection after its handshake."""
        assert isinstance(tls, ServerSide)
        return TlsSession(tls, tls.identities, tls.server_name)

    def reload(self) -> None:
        """Read all files again; open connections are unaffected. Raises `TlsError`, then nothing changes."""
        self.prepare(self._config)()

    def prepare(self, config: ListenerTlsConfig) -> Callable[[], None]:
        """Read all files of a configuration, and return a function that puts it into effect.

        Raises:
            TlsError: a file is invalid; nothing has changed.
        """
        identities = Identities(config)
        context = self._base_context
        if _client_requirements(config, identities) != _client_requirements(self._config, self.identities):
            # A ticket carries the result of client authentication; other requirements might give another one.
            context = self._new_base_context(config)

        def take_up() -> None:
            self._config, self._base_context, self.identities = config, context, identities
            self._warn(identities)

        return take_up

    def _warn(self, identities: Identities) -> None:
        for identity in identities.certificates:
            warning = identity.warning(datetime.now(UTC))
            if warning is not None:
                log.warning("%s: %s", self._address, warning)

    def _new_base_context(self, config: ListenerTlsConfig) -> ssl.SSLContext:
        context = _new_context(config)
        context.sslobject_class = ServerSide
        context.sni_callback = self._select_certificate
        return context

    def _select_certificate(self, tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        """Choose the certificate of a new connection (RFC 6066 3); called with or without a server name."""
        assert isinstance(tls, ServerSide)
        identities = tls.identities = self.identities
        if name is not None:
            name = tls.server_name = name.lower().removesuffix(".")
        if self._config.strict_sni and (name is None or identities.find(name) is None):
            return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
        tls.context = identities.choose(name)
        return None


def _client_requirements(config: ListenerTlsConfig, identities: Identities) -> tuple[object, ...]:
    """Return the settings of client authentication."""
    asked = config.client_certificates
    return config.min_version, None if asked is None else asked.mode, identities.authorities


def _read_identities(pairs: Sequence[tuple[Path, Path | None]]) -> tuple[Identity, ...]:
    found: list[Identity] = []
    for certificate_path, key_path in pairs:
        path = str(certificate_path)
        pem = read(path, "certificate")
        if b"-----BEGIN CERTIFICATE-----" not in pem:
            raise TlsError(f"certificate {path!r} has no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
        try:
            certificate = read_certificate(pem)
        except ValueError as error:
            raise TlsError(f"certificate {path!r} cannot be read: {error}") from None
        identity = Identity(path, None if key_path is None else str(key_path), certificate)
        _check_use(identity, found)
        found.append(identity)
    return tuple(found)


def _check_use(identity: Identity, others: list[Identity]) -> None:
    """Refuse a certificate that would never be used."""
    names, path = identity.certificate.dns_names, identity.certificate_path
    if others and not names:
        raise TlsError(f"certificate {path!r} has no host name (subjectAltName): only the first one may be without")
    for other in others:
        shared = sorted(set(names) & set(other.certificate.dns_names))
        if shared and identity.certificate.key_type == other.certificate.key_type:
            both = f"certificates {other.certificate_path!r} and {path!r} are both for {shared[0]!r}"
            raise TlsError(f"{both} and have keys of one type, {identity.certificate.key_type}: remove one of them")


def _context_of(config: ListenerTlsConfig, identities: tuple[Identity, ...]) -> ssl.SSLContext:
    """Return the context of certificates with a common name, which differ in key type; OpenSSL chooses by client."""
    context = _new_context(config)
    for identity in identities:
        load_identity(context, identity.certificate_path, identity.key_path)
    return context


def _new_context(config: ListenerTlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    newest_only = config.min_version == "1.3"
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if newest_only else ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(ALPN)
    asked = config.client_certificates
    if asked is not None:
        context.verify_mode = ssl.CERT_REQUIRED if asked.mode == "required" else ssl.CERT_OPTIONAL
        ca = str(asked.ca)
        try:
            context.load_verify_locations(ca)
        except ssl.SSLError:
            raise TlsError(f"ca {ca!r} has no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None
    return context
