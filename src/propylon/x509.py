"""Reads names, key type and validity of the gateway's own certificates; validation is left to OpenSSL.

The standard library decodes only certificates that were received from a peer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

_KEY_TYPES: Final = {
    "1.2.840.113549.1.1.1": "RSA",
    "1.2.840.10045.2.1": "ECDSA",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
}


class Certificate(NamedTuple):
    """The parsed fields of a certificate.

    Attributes:
        dns_names: its subjectAltNames that are host names, lower case, some with a wildcard `*.`.
        addresses: its subjectAltNames that are IP addresses, in canonical text.
        key_type: RSA, ECDSA, Ed25519, Ed448 or "unknown".
    """

    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]
    key_type: str
    not_before: datetime
    not_after: datetime


def read_certificate(pem: bytes) -> Certificate:
    """Read the first certificate of a PEM file. Raises `ValueError` if there is none, or a malformed one."""
    from cryptography import x509  # 45 ms and 9 MB, for listeners with TLS only

    try:
        return _read(x509.load_pem_x509_certificate(pem))
    except x509.DuplicateExtension as error:
        raise ValueError(str(error)) from None
    except ValueError as error:
        raise ValueError(f"it has no certificate in PEM form, or a malformed one: {error}") from None


def _read(certificate: x509.Certificate) -> Certificate:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    return Certificate(
        tuple(name.lower() for name in names.get_values_for_type(x509.DNSName)),
        tuple(str(address) for address in names.get_values_for_type(x509.IPAddress)),
        _KEY_TYPES.get(certificate.public_key_algorithm_oid.dotted_string, "unknown"),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )
