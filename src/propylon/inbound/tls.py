"""TLS towards clients: which certificate whom, which versions and ciphers, and what is asked of clients.

Rules of the file:

- TLS 1.2 and newer (RFC 8996) with forward secrecy and authenticated encryption only (RFC 9325 4.2); HTTP/1.1 by ALPN.
- One context, the door, begins every handshake of a listener and lives as long as it: the keys of session tickets are
  the door's, so sessions are resumed whatever certificate they were made with, and after certificates were replaced.
- What is asked of clients is one setting a listener, never one a name. A session that was made under one name can be
  resumed under another, and would bring a client past what the other asks (CVE-2025-23419 in nginx).
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

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of TLS 1.3 are all good

log = logging.getLogger("propylon.tls")


class Identity(NamedTuple):
    """A certificate with its key: the files, and what the certificate says."""

    certificate_path: str
    key_path: str | None
    certificate: Certificate

    @property
    def files(self) -> Iterator[str]:
        """The files it is read from."""
        yield self.certificate_path
        if self.key_path is not None:
            yield self.key_path

    def warning(self, now: datetime) -> str | None:
        """Say that clients will refuse it, if it is not valid now."""
        if now > self.certificate.not_after:
            return f"certificate {self.certificate_path!r} has expired on {self.certificate.not_after:%Y-%m-%d}"
        if now < self.certificate.not_before:
            return f"certificate {self.certificate_path!r} is not valid before {self.certificate.not_before:%Y-%m-%d}"
        return None


class Identities:
    """The certificates of a listener by name, read as a whole and never changed.

    Attributes:
        authorities: what client certificates are verified with; None if clients are not asked for one.
        certificates: all of them, the default first.
        tells_services: services get to know the client's certificate in header fields.
    """

    __slots__ = ("_contexts", "_default", "authorities", "certificates", "tells_services")

    def __init__(self, config: ListenerTlsConfig) -> None:
        """Read everything. Raises `TlsError`, with a sentence that names the file."""
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
        """Return the context for a lower-case name: its own, its wildcard's (one label), or the default."""
        return self._default if name is None else self.find(name) or self._default

    def find(self, name: str) -> ssl.SSLContext | None:
        """Return the context of a certificate that has this lower-case name."""
        return self._contexts.get(name) or self._contexts.get(f"*.{name.partition('.')[2]}")


class ServerSide(ssl.SSLObject):
    """A connection of a listener; remembers what `ssl.SSLObject` tells only once.

    Attributes:
        identities: the certificates that were chosen from.
        server_name: the name that the client asked for (SNI).
    """

    identities: Identities
    server_name: str | None = None


class ListenerTls:
    """TLS of one listener: its door, its certificates, its failures.

    Attributes:
        outgoing: the buffer that OpenSSL writes to, for all connections (see `tls_transport.py`).
    """

    __slots__ = ("_address", "_config", "_door", "failures", "identities", "outgoing")

    def __init__(self, config: ListenerTlsConfig, address: str) -> None:
        """Read all files of `config`; `address` names the listener in the log. Raises `TlsError`."""
        self._config = config
        self.outgoing = ssl.MemoryBIO()
        self.failures = TlsFailures(address)
        self.identities = Identities(config)
        self._door = self._new_door(config)
        self._address = address
        self._warn(self.identities)

    @property
    def files(self) -> list[str]:
        """Every file that was read."""
        asked = self._config.client_certificates
        authorities = [] if asked is None else [str(asked.ca)]
        return [*authorities, *(path for identity in self.identities.certificates for path in identity.files)]

    def wrap(self, incoming: ssl.MemoryBIO) -> ssl.SSLObject:
        """Begin a connection that reads from `incoming`."""
        return self._door.wrap_bio(incoming, self.outgoing, server_side=True)

    def session(self, tls: ssl.SSLObject) -> TlsSession:
        """Return what is known of a connection whose handshake is over."""
        assert isinstance(tls, ServerSide)
        return TlsSession(tls, tls.identities, tls.server_name)

    def reload(self) -> None:
        """Read all files anew; connections that are open stay what they are. Raises `TlsError` and changes nothing."""
        self.prepare(self._config)()

    def prepare(self, config: ListenerTlsConfig) -> Callable[[], None]:
        """Read all files of a configuration that may be another one, and return what lets it take effect.

        Raises:
            TlsError: a file that cannot be used; nothing has changed.
        """
        identities = Identities(config)
        door = self._door
        if _asked(config, identities) != _asked(self._config, self.identities):
            # A ticket carries who its client was found to be; what is asked now might not have found that.
            door = self._new_door(config)

        def take_up() -> None:
            self._config, self._door, self.identities = config, door, identities
            self._warn(identities)

        return take_up

    def _warn(self, identities: Identities) -> None:
        for identity in identities.certificates:
            warning = identity.warning(datetime.now(UTC))
            if warning is not None:
                log.warning("%s: %s", self._address, warning)

    def _new_door(self, config: ListenerTlsConfig) -> ssl.SSLContext:
        door = _new_context(config)
        door.sslobject_class = ServerSide
        door.sni_callback = self._greet
        return door

    def _greet(self, tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        """Choose the certificate of a new connection (RFC 6066 3); OpenSSL asks whether a name came or not."""
        assert isinstance(tls, ServerSide)
        identities = tls.identities = self.identities
        if name is not None:
            name = tls.server_name = name.lower().removesuffix(".")
        if self._config.strict_sni and (name is None or identities.find(name) is None):
            return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
        tls.context = identities.choose(name)
        return None


def _asked(config: ListenerTlsConfig, identities: Identities) -> tuple[object, ...]:
    """Return what a handshake asks of clients."""
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
    """Refuse a certificate that no client would ever get to see."""
    names, path = identity.certificate.dns_names, identity.certificate_path
    if others and not names:
        raise TlsError(f"certificate {path!r} has no host name (subjectAltName): only the first one may be without")
    for other in others:
        shared = sorted(set(names) & set(other.certificate.dns_names))
        if shared and identity.certificate.key_type == other.certificate.key_type:
            both = f"certificates {other.certificate_path!r} and {path!r} are both for {shared[0]!r}"
            raise TlsError(f"{both} and have keys of one type, {identity.certificate.key_type}: remove one of them")


def _context_of(config: ListenerTlsConfig, identities: tuple[Identity, ...]) -> ssl.SSLContext:
    """Return the context of certificates that have a name in common; clients get the one whose key they can use."""
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
