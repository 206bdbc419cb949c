"""TLS towards endpoints: certificates are verified and names are checked unless the operator says otherwise.

Rules of the file:

- TLS 1.2 is the oldest version (RFC 8996); ALPN offers http/1.1 only, the one protocol spoken outbound.
- A `ca` replaces the system's certificates: an endpoint with a private CA is to be vouched for by that CA alone.
- Everything that can be wrong with a file is found when the configuration is loaded, and the message names the file.
"""

import ssl
from typing import Final, NoReturn

ALPN: Final = ["http/1.1"]


class TlsError(ValueError):
    """TLS settings that cannot be used; the message is a sentence that names the file or the key."""


def client_context(verify: bool, ca: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    """Return the context for connections to the endpoints of one service.

    Parameters:
        verify: False turns off the check of certificate and name: whoever answers is believed.
        ca: PEM file with the certificates to believe, instead of the system's.
        certificate: PEM file with the gateway's own certificate chain, for services that ask for one.
        key: PEM file with its private key, unencrypted; None if the certificate file has it too.

    Raises `TlsError`.
    """
    if not verify and ca is not None:
        raise TlsError(f"ca {ca!r} has no effect with verify: false: remove one of the two")
    if key is not None and certificate is None:
        raise TlsError(f"key {key!r} has no certificate: add certificate: with the PEM file it belongs to")
    if ca is not None:
        _read(ca, "ca")
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


def load_identity(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    """Load our own certificate and key into a context of either side. Raises `TlsError`."""
    if b"-----BEGIN CERTIFICATE-----" not in _read(certificate, "certificate"):
        raise TlsError(f"certificate {certificate!r} has no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    owner, name = ("key", key) if key is not None else ("certificate", certificate)
    if b"PRIVATE KEY-----" not in _read(name, owner):
        more = "" if key is not None else ": add key: with the file that has it"
        raise TlsError(f"{owner} {name!r} has no private key in PEM form (-----BEGIN PRIVATE KEY-----){more}")

    def refuse() -> NoReturn:
        # Without this, OpenSSL would ask for the password on the terminal.
        raise TlsError(f"{owner} {name!r} is encrypted: store the key without a password, readable by the gateway only")

    try:
        context.load_cert_chain(certificate, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"{owner} {name!r} does not belong to certificate {certificate!r}") from None
        raise TlsError(f"certificate {certificate!r} and its key cannot be read: {error.reason or error}") from None


def _read(path: str, owner: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TlsError(f"{owner} {path!r} cannot be read: {reason}") from None
