"""Client certificates: from OpenSSL's representation to that of policies and services.

All texts made of a certificate are printable ASCII: they are used in header fields and logs.
"""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from propylon.engine.client_certificate import ClientCertificate

if TYPE_CHECKING:
    from collections.abc import Iterable

_ATTRIBUTES: Final = {
    # RFC 4514 3, and further attributes in common use.
    "commonName": "CN", "countryName": "C", "domainComponent": "DC", "emailAddress": "emailAddress",
    "localityName": "L", "organizationName": "O", "organizationalUnitName": "OU", "serialNumber": "serialNumber",
    "stateOrProvinceName": "ST", "streetAddress": "STREET", "userId": "UID",
}  # fmt: skip
_KINDS: Final = {"IP Address": "IP", "Registered ID": "RID"}


def client_certificate(tls: ssl.SSLObject) -> ClientCertificate | None:
    """Return the verified certificate of the client, or None if it has sent none."""
    raw, decoded = tls.getpeercert(True), tls.getpeercert()
    if not raw or not decoded:
        return None
    certificate: dict[str, Any] = dict(decoded)
    return ClientCertificate(
        subject=_distinguished_name(certificate.get("subject", ())),
        names=tuple(
            f"{_KINDS.get(kind, kind)}:{_printable(str(value))}"
            for kind, value in certificate.get("subjectAltName", ())
        ),
        serial=certificate["serialNumber"].lower(),
        fingerprint=hashlib.sha256(raw).hexdigest(),
        not_after=datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC),
    )


def certificate_fields(certificate: ClientCertificate | None) -> bytes:
    """Return the header fields for a service about the certificate, or about its absence."""
    if certificate is None:
        return b"x-client-cert-verify: NONE\r\n"
    names = ", ".join(name.replace(",", "\\2C") for name in certificate.names)
    lines = {
        "verify": "SUCCESS",
        "subject": certificate.subject,
        "san": names,
        "serial": certificate.serial,
        "fingerprint": certificate.fingerprint,
    }
    return "".join(f"x-client-cert-{name}: {value}\r\n" for name, value in lines.items() if value).encode("ascii")


def _distinguished_name(parts: Iterable[Iterable[tuple[str, str]]]) -> str:
    """Return a name in the format of RFC 4514 2: the most specific part first."""
    written = ["+".join(f"{_ATTRIBUTES.get(kind, kind)}={_escaped(value)}" for kind, value in part) for part in parts]
    return ",".join(reversed(written))


def _escaped(value: str) -> str:
    """Escape special characters, and a space at either end (RFC 4514 2.4)."""
    text = "".join(f"\\{character}" if character in '"+,;<>\\' else character for character in value)
    if text[:1] in ("#", " "):
        text = f"\\{text}"
    if len(value) > 1 and text.endswith(" "):
        text = f"{text[:-1]}\\ "
    return _printable(text)


def _printable(text: str) -> str:
    """Escape what is not printable ASCII as the hexadecimal digits of its UTF-8 (RFC 4514 2.4)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character.isascii() and character.isprintable()
        else "".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))
        for character in text
    )
