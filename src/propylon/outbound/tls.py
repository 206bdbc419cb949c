"""TLS with endpoints: certificates and names are verified by default.

Rules of the file:

- TLS 1.2 is the minimum version (RFC 8996); ALPN offers http/1.1 only, the one protocol supported outbound.
- A `ca` replaces the system's CAs: an endpoint with a private CA is verified with that CA only.
- All errors of a file are detected when the configuration is loaded, and the message names the file.
- A context cannot forget a CA, so files that have changed are read into a new one.
"""

import contextlib
import hashlib
import ssl
from typing import NamedTuple

from propylon.tls import ALPN, TlsError, load_identity, read
from propylon.tls_files import CertificateFiles


class TlsSettings(NamedTuple):
    """Settings of TLS with endpoints: the arguments of `client_context`."""

    verify: bool = True
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None

    @property
    def files(self) -> list[str]:
        """The files that they name."""
        return [path for path in (self.ca, self.certificate, self.key) if path is not None]


class EndpointTls:
    """TLS with the endpoints of services, by settings that may name files. Equal only to itself.

    Attributes:
        context: the context for new connections.
        digest: digest of the settings and of the content of the files.
    """

    __slots__ = ("_settings", "_watched", "context", "digest")

    def __init__(self, settings: TlsSettings) -> None:
        """Read the files. Raises `TlsError`."""
        self._settings = settings
        self._watched = CertificateFiles(self, f"TLS with endpoints, {', '.join(self.files)}")
        self.digest = digest_of(self._settings)
        self.context = client_context(*self._settings)

    @property
    def files(self) -> list[str]:
        """The files that are read."""
        return self._settings.files

    def reload(self) -> None:
        """Read all files again, for new connections. Raises `TlsError`, then nothing changes."""
        digest = digest_of(self._settings)
        if digest != self.digest:
            self.context = client_context(*self._settings)
            self.digest = digest

    def refresh(self) -> bool:
        """Read the files again if one of them has changed; return whether there is a new context."""
        before = self.context
        self._watched.refresh()
        return self.context is not before


def digest_of(settings: TlsSettings) -> str:
    """Return the digest of settings and of the content of their files; one that cannot be read counts as empty."""
    digest = hashlib.sha256(repr(settings).encode())
    for path in settings.files:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()


def client_context(verify: bool, ca: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    """Return the context for connections to the endpoints of one service.

    Parameters:
        verify: False disables verification of certificate and name.
        ca: PEM file with the trusted CAs, instead of the system's.
        certificate: PEM file with the gateway's own certificate chain, for services that request one.
        key: PEM file with its private key, unencrypted; None if it is in the certificate file.

    Raises `TlsError`.
    """
    if not verify and ca is not None:
        raise TlsError(f"ca {ca!r} has no effect with verify: false: remove one of the two")
    if key is not None and certificate is None:
        raise TlsError(f"key {key!r} has no certificate: add certificate: with the PEM file it belongs to")
    if ca is not None:
        read(ca, "ca")
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise TlsError(f"ca {ca!r} has no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        load_identity(context, certificate, key)
    return context
