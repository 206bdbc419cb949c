"""From a client's certificate to what policies and services get: always printable, never ambiguous."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.engine.client_certificate import ClientCertificate
from propylon.inbound.client_certificate import certificate_fields, client_certificate


class Shown:
    """What `ssl.SSLObject` tells of a certificate."""

    def __init__(self, raw: bytes | None, told: dict[str, Any]) -> None:
        self._raw, self._told = raw, told

    def getpeercert(self, binary_form: bool = False) -> Any:
        return self._raw if binary_form else self._told


def read(subject: Any, names: Any = ()) -> ClientCertificate:
    told = {"subject": subject, "subjectAltName": names, "serialNumber": "0AFF", "notAfter": "Nov 27 19:59:08 2026 GMT"}
    found = client_certificate(cast("ssl.SSLObject", Shown(b"der", told)))
    assert found is not None
    return found


def test_everything_of_a_certificate() -> None:
    found = read(
        ((("countryName", "PT"),), (("organizationName", "Acme, Inc."),), (("commonName", "alice"), ("userId", "7"))),
        (("DNS", "a.test"), ("IP Address", "10.0.0.1"), ("URI", "spiffe://a/b")),
    )
    assert found.subject == "CN=alice+UID=7,O=Acme\\, Inc.,C=PT"
    assert found.names == ("DNS:a.test", "IP:10.0.0.1", "URI:spiffe://a/b")
    assert found.serial == "0aff"
    assert found.fingerprint == hashlib.sha256(b"der").hexdigest()
    assert found.not_after == datetime(2026, 11, 27, 19, 59, 8, tzinfo=UTC)


def test_no_certificate_is_none() -> None:
    assert client_certificate(cast("ssl.SSLObject", Shown(None, {}))) is None


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a,b", "a\\,b"),
        ('a"+;<>\\b', 'a\\"\\+\\;\\<\\>\\\\b'),
        ("#a", "\\#a"),
        (" a ", "\\ a\\ "),
        ("a\r\nx-admin: 1", "a\\0D\\0Ax-admin: 1"),
        ("é", "\\C3\\A9"),
        ("\udcff", "\\FF"),
    ],
)
def test_values_are_escaped_as_rfc4514_wants_it(value: str, written: str) -> None:
    assert read(((("commonName", value),),)).subject == f"CN={written}"


@given(st.text(), st.text())
def test_whatever_a_certificate_says_the_fields_stay_fields(value: str, name: str) -> None:
    lines = certificate_fields(read(((("commonName", value),),), (("DNS", name),))).split(b"\r\n")
    assert [line.partition(b": ")[0] for line in lines[:-1]] == [
        b"x-client-cert-verify", b"x-client-cert-subject", b"x-client-cert-san", b"x-client-cert-serial",
        b"x-client-cert-fingerprint",
    ]  # fmt: skip
    assert all(0x20 <= byte < 0x7F for line in lines for byte in line)


def test_a_comma_in_a_name_makes_no_second_name() -> None:
    assert b"x-client-cert-san: DNS:a\\2C DNS:admin\r\n" in certificate_fields(read((), (("DNS", "a, DNS:admin"),)))


def test_services_are_told_that_there_is_none() -> None:
    assert certificate_fields(None) == b"x-client-cert-verify: NONE\r\n"
