"""The verified certificate of a client, for policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client's verified certificate.

    Attributes:
        subject: its distinguished name, as `CN=alice,O=Example` (RFC 4514), ASCII.
        names: its subjectAltNames, each with its kind: `DNS:a.example`, `URI:spiffe://…`, `email:…`, `IP:…`.
        serial: its serial number, hexadecimal.
        fingerprint: SHA-256 of the whole certificate, hexadecimal.
        not_after: the end of its validity.
    """

    subject: str
    names: tuple[str, ...]
    serial: str
    fingerprint: str
    not_after: datetime
