"""Certificates of listeners: who gets which, what is asked of clients, what outlives a reload."""

from __future__ import annotations

import logging
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from propylon.config.schema import ListenerTlsConfig
from propylon.inbound.tls import Identities, ListenerTls
from propylon.inbound.tls_session import TlsSession
from propylon.tls import TlsError
from propylon.transport.tls_transport import Engine
from tests.support.tls import Certificates, MemoryPeer


def shaken(
    listener: ListenerTls,
    context: ssl.SSLContext,
    name: str | None = "a.test",
    session: ssl.SSLSession | None = None,
) -> tuple[TlsSession, MemoryPeer]:
    """Shake hands; raises `ssl.SSLError` of the side that refuses, the listener first."""
    peer, engine = MemoryPeer(context, name, session), Engine(listener)
    done = False
    while not (peer.ready and done):
        engine.incoming.write(peer.take())
        try:
            engine.tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            pass
        finally:
            peer.give(engine.outgoing.read())
    engine.incoming.write(peer.take())
    engine.tls.write(b"x")  # what comes behind the tickets of TLS 1.3 makes the client read them
    peer.give(engine.outgoing.read())
    assert peer.received() == b"x"
    return listener.session(engine.tls), peer


def seen(listener: ListenerTls, context: ssl.SSLContext, name: str | None) -> str:
    """The common name of the certificate that a client gets to see."""
    context.check_hostname = False
    _, peer = shaken(listener, context, name)
    certificate = peer.tls.getpeercert()
    assert certificate
    return str(dict(part[0] for part in certificate["subject"])["commonName"])  # type: ignore[misc, index]


@pytest.mark.parametrize(
    ("name", "common_name"),
    [
        ("a.test", "a"),
        ("LOCALHOST", "a"),
        ("b.test", "b"),
        ("x.wild.test", "b"),
        ("deep.wild.test", "c"),  # exact before wildcard
        ("x.y.wild.test", "a"),  # one label for a wildcard
        ("wild.test", "a"),
        ("nobody.test", "a"),
        (None, "a"),
    ],
)
def test_a_client_gets_the_certificate_of_the_name_it_asks_for(
    certificates: Certificates, name: str | None, common_name: str
) -> None:
    listener = ListenerTls(certificates.config("a", "b", "c"), "listener")
    assert seen(listener, certificates.client(), name) == common_name


@pytest.mark.parametrize(
    ("name", "refused"), [("a.test", False), ("x.wild.test", False), ("nobody.test", True), (None, True)]
)
def test_strict_sni_refuses_other_names(certificates: Certificates, name: str | None, refused: bool) -> None:
    listener = ListenerTls(certificates.config("a", "b", strict_sni=True), "listener")
    context = certificates.client(check_hostname=False)
    if not refused:
        assert shaken(listener, context, name)
        return
    peer, engine = MemoryPeer(context, name), Engine(listener)
    engine.incoming.write(peer.take())
    with pytest.raises(ssl.SSLError):
        engine.tls.do_handshake()
    assert engine.outgoing.read()[-2:] == bytes((2, 112)), "unrecognized_name (RFC 6066 3)"


def test_a_name_may_have_an_rsa_and_an_ecdsa_certificate(certificates: Certificates) -> None:
    listener = ListenerTls(certificates.config("a", "rsa"), "listener")
    old = ssl.TLSVersion.TLSv1_2
    for ciphers, common_name in (("ECDHE-RSA-AES128-GCM-SHA256", "rsa"), ("ECDHE-ECDSA-AES128-GCM-SHA256", "a")):
        context = certificates.client(maximum_version=old)
        context.set_ciphers(ciphers)
        assert seen(listener, context, "a.test") == common_name


# what is spoken


@pytest.mark.parametrize("ciphers", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256"])
def test_ciphers_without_forward_secrecy_or_authentication_are_not_spoken(
    certificates: Certificates, ciphers: str
) -> None:
    context = certificates.client(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(ciphers)
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        shaken(ListenerTls(certificates.config("a", "rsa"), "listener"), context)


def test_the_oldest_version_can_be_raised(certificates: Certificates) -> None:
    listener = ListenerTls(certificates.config("a", min_version="1.3"), "listener")
    assert shaken(listener, certificates.client())[0].version == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        shaken(listener, certificates.client(maximum_version=ssl.TLSVersion.TLSv1_2))


def test_http_1_1_is_offered(certificates: Certificates) -> None:
    context = certificates.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, peer = shaken(ListenerTls(certificates.config("a"), "listener"), context)
    assert peer.tls.selected_alpn_protocol() == "http/1.1"


# client certificates


def asking(certificates: Certificates, mode: str = "required") -> ListenerTls:
    asked = {"ca": certificates.path("ca"), "mode": mode}
    return ListenerTls(certificates.config("a", "b", client_certificates=asked), "listener")


@pytest.mark.parametrize("name", ["a.test", "b.test", None])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_without_a_required_certificate_the_handshake_fails(
    certificates: Certificates, version: ssl.TLSVersion, name: str | None
) -> None:
    listener = asking(certificates)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shaken(listener, certificates.client(maximum_version=version), name)
    session, _ = shaken(listener, certificates.client("client", maximum_version=version), name)
    assert session.client_certificate is not None


def test_an_optional_certificate_may_be_missing_but_not_wrong(certificates: Certificates) -> None:
    listener = asking(certificates, "optional")
    assert shaken(listener, certificates.client())[0].client_certificate is None
    assert shaken(listener, certificates.client("client"))[0].client_certificate is not None
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shaken(listener, certificates.client("stranger"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_brings_the_certificate_it_was_made_with(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    listener = asking(certificates, "optional")
    context = certificates.client("client", maximum_version=version)
    first, peer = shaken(listener, context)
    again, peer = shaken(listener, context, session=peer.tls.session)
    assert peer.tls.session_reused
    assert again.client_certificate == first.client_certificate
    anonymous = certificates.client(maximum_version=version)
    _, peer = shaken(listener, anonymous)
    again, peer = shaken(listener, anonymous, session=peer.tls.session)
    assert peer.tls.session_reused
    assert again.client_certificate is None


# reload


@pytest.fixture
def copied(certificates: Certificates, tmp_path: Path) -> Callable[[str], None]:
    """Put a certificate in the place of live.pem and live.key."""

    def put(name: str) -> None:
        shutil.copy(certificates.path(name), tmp_path / "live.pem")
        shutil.copy(certificates.pair(name)["key"], tmp_path / "live.key")

    return put


def live(tmp_path: Path, **keys: object) -> ListenerTls:
    data = {"certificate": str(tmp_path / "live.pem"), "key": str(tmp_path / "live.key"), **keys}
    return ListenerTls(ListenerTlsConfig.model_validate(data), "listener")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed_after_a_reload(
    certificates: Certificates, tmp_path: Path, copied: Callable[[str], None], version: ssl.TLSVersion
) -> None:
    copied("a")
    listener = live(tmp_path)
    context = certificates.client(maximum_version=version, check_hostname=False)
    _, peer = shaken(listener, context)
    copied("b")
    listener.reload()
    assert seen(listener, certificates.client(), "a.test") == "b"
    assert shaken(listener, context, session=peer.tls.session)[1].tls.session_reused


def test_sessions_are_not_resumed_when_the_authorities_of_clients_changed(
    certificates: Certificates, tmp_path: Path, copied: Callable[[str], None]
) -> None:
    copied("a")
    ca = tmp_path / "clients.pem"
    shutil.copy(certificates.path("ca"), ca)
    listener = live(tmp_path, client_certificates={"ca": str(ca)})
    context = certificates.client("client")
    _, peer = shaken(listener, context)
    listener.reload()
    assert shaken(listener, context, session=peer.tls.session)[1].tls.session_reused, "nothing has changed"
    shutil.copy(certificates.path("stranger"), ca)
    listener.reload()
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shaken(listener, context, session=peer.tls.session)


def test_a_pair_that_does_not_fit_changes_nothing(
    certificates: Certificates, tmp_path: Path, copied: Callable[[str], None]
) -> None:
    copied("a")
    listener = live(tmp_path)
    shutil.copy(certificates.path("b"), tmp_path / "live.pem")
    with pytest.raises(TlsError, match="does not belong to certificate"):
        listener.reload()
    assert seen(listener, certificates.client(), "a.test") == "a"


# what is told before anything is opened


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "bare"), r"bare\.pem' has no host name"),
        (("a", "a"), r"are both for 'a\.test' and have keys of one type, ECDSA"),
    ],
)
def test_a_certificate_that_nobody_would_see_is_an_error(
    certificates: Certificates, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(TlsError, match=message):
        Identities(certificates.config(*names))


def test_one_certificate_needs_no_name(certificates: Certificates) -> None:
    assert seen(ListenerTls(certificates.config("bare"), "listener"), certificates.client(), "a.test") == "bare"


def test_an_authority_that_is_none_is_an_error(certificates: Certificates) -> None:
    with pytest.raises(TlsError, match=r"a\.key' has no certificate in PEM form"):
        Identities(certificates.config("a", client_certificates={"ca": certificates.pair("a")["key"]}))


@pytest.mark.parametrize(
    ("name", "words"), [("past", "has expired on 2021-01-01"), ("future", "not valid before 2090")]
)
def test_a_certificate_of_another_time_is_warned_of(
    certificates: Certificates, caplog: pytest.LogCaptureFixture, name: str, words: str
) -> None:
    with caplog.at_level(logging.WARNING):
        ListenerTls(certificates.config("a", "b"), "listener")
        assert caplog.records == []
        ListenerTls(certificates.config(name), "192.0.2.1:443")
    assert len(caplog.records) == 1
    assert words in caplog.text
    assert "192.0.2.1:443" in caplog.text


def test_the_files_are_all_that_were_read(certificates: Certificates) -> None:
    listener = asking(certificates)
    pairs = [certificates.pair("a"), certificates.pair("b")]
    assert listener.files == [certificates.path("ca"), *(path for pair in pairs for path in pair.values())]
