"""A certificate authority for development, and its certificates.

Rules of the file: keys are written with mode 0600 and never shown; existing certificates are overwritten only on
request, the authority never.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from propylon.config.warnings import DEVELOPMENT_AUTHORITY

if TYPE_CHECKING:
    from collections.abc import Sequence

AUTHORITY_DAYS = 3650
LEAF_DAYS = 397  # the maximum that browsers accept
_EARLIER = timedelta(hours=1)  # tolerance for clock skew


@dataclass(frozen=True, slots=True)
class Made:
    """The files of a certificate, and of the authority that signed it."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True, slots=True)
class _Authority:
    """A loaded authority."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_certificate(names: "Sequence[str]", folder: Path, *, overwrite: bool) -> Made:
    """Create a certificate for host names and IP addresses, and the authority in `folder` if there is none.

    Raises `click.ClickException` for an invalid name, and for a file that exists or cannot be written.
    """
    alternatives = [_alternative(name) for name in names]
    stem = names[0].lower().replace("*", "_wildcard").replace(":", "_")
    if stem == "ca":
        raise click.ClickException("the files of 'ca' would be those of the authority: put another name first")
    made = Made(folder / f"{stem}.pem", folder / f"{stem}.key", folder / "ca.pem")
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for path in (made.certificate, made.key):
            if path.exists() and not overwrite:
                raise click.ClickException(f"{path} is there already: --force replaces it")
        authority = _authority(made.authority, folder / "ca.key")
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _leaf(names[0], alternatives, key, authority)
        _write_key(made.key, key)
        made.certificate.write_bytes(_pem(certificate))
    except OSError as error:
        raise click.ClickException(f"{error.filename or folder}: {(error.strerror or str(error)).lower()}") from error
    return made


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    labels = name.removeprefix("*.").split(".")
    if len(name) > 253 or not all(_is_label(label) for label in labels):
        raise click.ClickException(f"{name!r} is neither a host name nor an IP address")
    return x509.DNSName(name.lower())


def _is_label(label: str) -> bool:
    plain = label.replace("-", "").replace("_", "")
    return 0 < len(label) < 64 and plain.isascii() and plain.isalnum() and not label.startswith("-")


def _authority(certificate_path: Path, key_path: Path) -> _Authority:
    """Load the authority, or create it if there is none."""
    if certificate_path.exists() != key_path.exists():
        raise click.ClickException(f"{certificate_path} and {key_path} belong together, and only one of them is there")
    if certificate_path.exists():
        return _known_authority(certificate_path, key_path)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DEVELOPMENT_AUTHORITY)])
    now = datetime.now(UTC)
    certificate = (
        _builder(name, name, key.public_key(), now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(key_path, key)
    certificate_path.write_bytes(_pem(certificate))
    return _Authority(certificate, key)


def _known_authority(certificate_path: Path, key_path: Path) -> _Authority:
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise click.ClickException(f"the authority in {certificate_path.parent} cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise click.ClickException(f"{key_path} is not the key of {certificate_path}, or of another kind")
    if certificate.not_valid_after_utc < datetime.now(UTC):
        raise click.ClickException(f"the authority {certificate_path} has expired: remove it and its key")
    return _Authority(certificate, key)


def _leaf(
    name: str, alternatives: "Sequence[x509.GeneralName]", key: ec.EllipticCurvePrivateKey, authority: _Authority
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    issuer = authority.certificate
    ends = min(datetime.now(UTC) + timedelta(days=LEAF_DAYS), issuer.not_valid_after_utc)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return (
        _builder(subject, issuer.subject, key.public_key(), ends)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(identifier, critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - _EARLIER)
        .not_valid_after(ends)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a key to a file created with mode 0600."""
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
