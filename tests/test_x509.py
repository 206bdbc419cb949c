"""The reader of certificates: right about good ones, and never anything but a ValueError about others."""

from __future__ import annotations

import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from propylon.x509 import read_certificate
from tests.support.tls import Certificates


def pem_of(der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).encode()


@pytest.mark.parametrize(
    ("name", "dns_names", "addresses", "key_type"),
    [
        ("a", ("a.test", "localhost"), ("127.0.0.1",), "ECDSA"),
        ("b", ("b.test", "*.wild.test"), (), "ECDSA"),
        ("rsa", ("a.test",), (), "RSA"),
        ("bare", (), (), "ECDSA"),
        ("ca", (), (), "ECDSA"),
    ],
)
def test_names_and_keys(
    certificates: Certificates, name: str, dns_names: tuple[str, ...], addresses: tuple[str, ...], key_type: str
) -> None:
    found = read_certificate(Path(certificates.path(name)).read_bytes())
    assert (found.dns_names, found.addresses, found.key_type) == (dns_names, addresses, key_type)
    assert found.not_before <= datetime.now(UTC) < found.not_after < datetime.now(UTC) + timedelta(days=31)


def test_moments_of_both_forms(certificates: Certificates) -> None:
    """Up to 2049 they have two digits for the year, from 2050 on four (RFC 5280 4.1.2.5)."""
    past = read_certificate(Path(certificates.path("past")).read_bytes())
    assert (past.not_before, past.not_after) == (datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC))
    future = read_certificate(Path(certificates.path("future")).read_bytes())
    assert future.not_before == datetime(2090, 1, 1, tzinfo=UTC)


def test_the_first_of_a_chain_counts(certificates: Certificates) -> None:
    chain = b"text\n" + Path(certificates.path("b")).read_bytes() + Path(certificates.path("ca")).read_bytes()
    assert read_certificate(chain).dns_names[0] == "b.test"


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    ],
)
def test_what_is_no_certificate_is_a_value_error(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_certificate(pem)


@pytest.mark.filterwarnings("ignore")  # of the library, about what it will refuse one day
@given(st.integers(0, 2000), st.integers(0, 255), st.integers(0, 2000))
@example(200, 0, 0)  # extensions without content
def test_a_damaged_certificate_is_read_or_a_value_error(
    certificates: Certificates, at: int, byte: int, length: int
) -> None:
    der = bytearray(ssl.PEM_cert_to_DER_cert(Path(certificates.path("a")).read_text()))
    der[at % len(der)] = byte
    try:
        read_certificate(pem_of(bytes(der[: length or None])))
    except ValueError:
        pass


@given(st.binary(max_size=200))
def test_garbage_is_a_value_error(garbage: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_certificate(pem_of(garbage))


def test_only_a_listener_with_tls_imports_the_library() -> None:
    code = "import sys, propylon.runtime.worker; print('cryptography' in sys.modules, 'propylon.x509' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False True\n"
