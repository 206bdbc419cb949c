"""Which requests a TLS connection is good for, and what is known of it."""

from __future__ import annotations

import pytest

from propylon.http.host import parse_host
from propylon.inbound.tls import Identities, ListenerTls
from propylon.inbound.tls_session import TlsSession
from tests.inbound.test_tls import shaken
from tests.support.fakes import exchange
from tests.support.tls import Certificates


def verdict(identities: Identities, server_name: str | None, host: bytes | None) -> str | None:
    """The code that a request for `host` is refused with."""
    session = TlsSession(None, identities, server_name)  # type: ignore[arg-type]
    x = exchange()
    x.host = None if host is None else parse_host(host)
    refusal = session.admit(x)
    assert session.admit(x) is None if refusal is None else session.admit(x) is not None, "the second time as the first"
    return None if refusal is None else refusal.code


MISDIRECTED = "admit.misdirected"


@pytest.mark.parametrize(
    ("server_name", "host", "code"),
    [
        ("a.test", b"a.test", None),
        ("a.test", b"A.Test:8443", None),
        ("a.test", b"localhost", None),  # the same certificate
        ("a.test", b"nobody.test", None),  # would get the default, which is a's
        ("a.test", b"b.test", MISDIRECTED),
        ("a.test", b"x.wild.test", MISDIRECTED),
        ("a.test", b"x.y.wild.test", None),  # a wildcard is for one label
        ("b.test", b"y.wild.test", None),
        ("b.test", b"a.test", MISDIRECTED),
        ("b.test", b"nobody.test", MISDIRECTED),
        ("nobody.test", b"a.test", None),
        (None, b"b.test", None),  # a health check by address, say
        ("b.test", None, None),  # HTTP/1.0
    ],
)
def test_a_request_must_be_for_a_host_of_the_same_certificate(
    certificates: Certificates, server_name: str | None, host: bytes | None, code: str | None
) -> None:
    assert verdict(Identities(certificates.config("a", "b")), server_name, host) == code


@pytest.mark.parametrize(
    ("server_name", "host", "code"),
    [
        ("a.test", b"a.test", None),
        ("a.test", b"localhost", MISDIRECTED),
        ("nobody.test", b"nobody.test", None),
        ("nobody.test", b"a.test", MISDIRECTED),
        ("a.test", b"127.0.0.1", MISDIRECTED),
        (None, b"a.test", None),
        (None, b"127.0.0.1", None),
        (None, b"b.test", MISDIRECTED),
    ],
)
def test_where_client_certificates_are_asked_for_the_names_must_be_the_same(
    certificates: Certificates, server_name: str | None, host: bytes, code: str | None
) -> None:
    asked = {"ca": certificates.path("ca"), "mode": "optional"}
    identities = Identities(certificates.config("a", "b", client_certificates=asked))
    assert verdict(identities, server_name, host) == code


def test_a_connection_tells_the_client_s_certificate_and_services_get_it_on_demand(certificates: Certificates) -> None:
    asked = {"ca": certificates.path("ca"), "headers": True}
    listener = ListenerTls(certificates.config("a", client_certificates=asked), "listener")
    session, _ = shaken(listener, certificates.client("client"))
    assert session.client_certificate is session.client_certificate, "read once"
    assert session.client_certificate is not None
    assert session.client_certificate.subject == "CN=client"
    assert session.fields.startswith(b"x-client-cert-verify: SUCCESS\r\nx-client-cert-subject: CN=client\r\n")


def test_services_get_nothing_unless_they_shall(certificates: Certificates) -> None:
    asked = {"ca": certificates.path("ca")}
    listener = ListenerTls(certificates.config("a", client_certificates=asked), "listener")
    session, _ = shaken(listener, certificates.client("client"))
    assert session.fields == b""
