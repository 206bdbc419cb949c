"""Parses names, key type and validity of the gateway's own certificates (RFC 5280 4.1).

The standard library decodes only certificates received from a peer. This parser reads DER as far as these fields
require; validation is left to OpenSSL.
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEQUENCE, _OID, _OCTETS, _UTC_TIME, _TIME, _EXTENSIONS = 0x30, 0x06, 0x04, 0x17, 0x18, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_SUBJECT_ALT_NAME: Final = b"\x55\x1d\x11"  # 2.5.29.17
_KEY_TYPES: Final = {
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01": "RSA",
    b"\x2a\x86\x48\xce\x3d\x02\x01": "ECDSA",
    b"\x2b\x65\x70": "Ed25519",
    b"\x2b\x65\x71": "Ed448",
}
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


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


class _Value(NamedTuple):
    """A DER value: tag and content (X.690 8.1)."""

    tag: int
    content: bytes


def read_certificate(pem: bytes) -> Certificate:
    """Read the first certificate of a PEM file. Raises `ValueError` if there is none, or a malformed one."""
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("there is no certificate in PEM form")
    return read_der(ssl.PEM_cert_to_DER_cert(found[0].decode("ascii", "replace")))


def read_der(der: bytes) -> Certificate:
    """Read a certificate in DER. Raises `ValueError` if it is malformed."""
    try:
        return _read(der)
    except (IndexError, OverflowError) as error:
        raise ValueError("the certificate is malformed") from error


def _read(der: bytes) -> Certificate:
    certificate = _first(der, _SEQUENCE)
    fields = list(_values(_first(certificate, _SEQUENCE)))
    if fields[0].tag == 0xA0:  # the version; without it the certificate has version 1
        del fields[0]
    not_before, not_after = (_parse_time(value) for value in _values(fields[3].content))
    key_type = _first(_first(fields[5].content, _SEQUENCE), _OID)
    dns_names, addresses = [], []
    for name in _alt_names(fields[6:]):
        if name.tag == _DNS_NAME:
            dns_names.append(name.content.decode("ascii", "replace").lower())
        elif name.tag == _IP_ADDRESS:
            addresses.append(str(ip_address(name.content)))
    return Certificate(tuple(dns_names), tuple(addresses), _KEY_TYPES.get(key_type, "unknown"), not_before, not_after)


def _alt_names(fields: list[_Value]) -> Iterator[_Value]:
    for field in fields:
        if field.tag == _EXTENSIONS:
            for extension in _values(_first(field.content, _SEQUENCE)):
                parts = list(_values(extension.content))  # the OID, perhaps "critical", the value
                if parts[0] == (_OID, _SUBJECT_ALT_NAME) and parts[-1].tag == _OCTETS:
                    yield from _values(_first(parts[-1].content, _SEQUENCE))


def _values(content: bytes) -> Iterator[_Value]:
    """Split the content of a constructed value (X.690 8.1)."""
    at = 0
    while at < len(content):
        tag, length = content[at], content[at + 1]
        at += 2
        if length & 0x80:
            count = length & 0x7F
            if not 1 <= count <= 4:
                raise ValueError("the certificate has a length that DER does not allow")
            length = int.from_bytes(content[at : at + count], "big")
            at += count
        if at + length > len(content):
            raise ValueError("the certificate is cut off")
        yield _Value(tag, content[at : at + length])
        at += length


def _first(content: bytes, tag: int) -> bytes:
    """Return the content of the first value in `content`. Raises `ValueError` unless it has this tag."""
    value = next(_values(content), None)
    if value is None or value.tag != tag:
        raise ValueError("the certificate is malformed")
    return value.content


def _parse_time(value: _Value) -> datetime:
    """Parse a time (RFC 5280 4.1.2.5): two-digit years are 1950 to 2049."""
    text = value.content.decode("ascii", "replace")
    if value.tag == _UTC_TIME:
        text = ("20" if text[:2] < "50" else "19") + text
    elif value.tag != _TIME:
        raise ValueError("the certificate is malformed")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
