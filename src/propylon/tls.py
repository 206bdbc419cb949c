"""TLS settings common to clients and endpoints: protocols, certificates and keys.

Problems of files are detected when the configuration is loaded, and the message names the file.
"""

from __future__ import annotations

import ssl
from typing import Final, NoReturn

ALPN: Final = ["http/1.1"]


class TlsError(ValueError):
    """TLS settings that cannot be used; the message names the file or the key."""


def load_identity(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    """Load the gateway's certificate and key into a client or server context. Raises `TlsError`."""
    if b"-----BEGIN CERTIFICATE-----" not in read(certificate, "certificate"):
        raise TlsError(f"certificate {certificate!r} has no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    owner, name = ("key", key) if key is not None else ("certificate", certificate)
    if b"PRIVATE KEY-----" not in read(name, owner):
        more = "" if key is not None else ": add key: with the file that has it"
        raise TlsError(f"{owner} {name!r} has no private key in PEM form (-----BEGIN PRIVATE KEY-----){more}")

    def refuse() -> NoReturn:
        # Without this, OpenSSL would prompt for the password on the terminal.
        raise TlsError(f"{owner} {name!r} is encrypted: store the key without a password, readable by the gateway only")

    try:
        context.load_cert_chain(certificate, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"{owner} {name!r} does not belong to certificate {certificate!r}") from None
        raise TlsError(f"certificate {certificate!r} and its key cannot be read: {error.reason or error}") from None


def read(path: str, owner: str) -> bytes:
    """Return a file's content; `owner` is the key of the configuration that names it. Raises `TlsError`."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TlsError(f"{owner} {path!r} cannot be read: {reason}") from None
