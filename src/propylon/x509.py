"""What a gateway needs to know of its own certificates before it shows them (RFC 5280 4.1).

The standard library tells this only of certificates that a peer has shown. This reader takes DER apart as far as
names, kind of key and validity; whether a certificate is good is OpenSSL's business.
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
    """What a certificate says.

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
    """One value of DER: its tag and its content."""

    tag: int
    content: bytes


def read_certificate(pem: bytes) -> Certificate:
    """Read the first certificate of a PEM file. Raises `ValueError` for what is none."""
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("there is no certificate in PEM form")
    return read_der(ssl.PEM_cert_to_DER_cert(found[0].decode("ascii", "replace")))


def read_der(der: bytes) -> Certificate:
    """Read a certificate in DER. Raises `ValueError` for what is none."""
    try:
        return _read(der)
    except (IndexError, OverflowError) as error:
        raise ValueError("the certificate is malformed") from error


def _read(der: bytes) -> Certificate:
    certificate = _one(der, _SEQUENCE)
    fields = list(_values(_one(certificate, _SEQUENCE)))
    if fields[0].tag == 0xA0:  # the version; without it the certificate has version 1
        del fields[0]
    not_before, not_after = (_moment(value) for value in _values(fields[3].content))
    key_type = _one(_one(fields[5].content, _SEQUENCE), _OID)
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
            for extension in _values(_one(field.content, _SEQUENCE)):
                parts = list(_values(extension.content))  # the OID, perhaps "critical", the value
                if parts[0] == (_OID, _SUBJECT_ALT_NAME) and parts[-1].tag == _OCTETS:
                    yield from _values(_one(parts[-1].content, _SEQUENCE))


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


def _one(content: bytes, tag: int) -> bytes:
    """Return the content of the first value in `content`, which must have this tag."""
    value = next(_values(content), None)
    if value is None or value.tag != tag:
        raise ValueError("the certificate is malformed")
    return value.content


def _moment(value: _Value) -> datetime:
    """Read a time (RFC 5280 4.1.2.5): two digits of the year mean 1950 to 2049."""
    text = value.content.decode("ascii", "replace")
    if value.tag == _UTC_TIME:
        text = ("20" if text[:2] < "50" else "19") + text
    elif value.tag != _TIME:
        raise ValueError("the certificate is malformed")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
