"""TLS settings towards endpoints: safe without being asked, and wrong files are named."""

import os
import ssl
from pathlib import Path

import pytest

from propylon.outbound.tls import EndpointTls, TlsError, TlsSettings, client_context
from tests.outbound.conftest import Pki


def test_certificates_and_names_are_checked_by_default() -> None:
    context = client_context(True, None, None, None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_verification_can_be_turned_off() -> None:
    context = client_context(False, None, None, None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_a_ca_replaces_those_of_the_system(pki: Pki) -> None:
    assert len(client_context(True, pki.ca, None, None).get_ca_certs()) == 1


def test_a_client_certificate_is_taken_with_its_key_beside_or_inside(pki: Pki, tmp_path: Path) -> None:
    client_context(True, pki.ca, pki.client, pki.client_key)
    both = tmp_path / "both.pem"
    both.write_text(Path(pki.client).read_text() + Path(pki.client_key).read_text())
    client_context(True, None, str(both), None)


def test_a_file_that_is_not_there_is_named(pki: Pki, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    for arguments in ((missing, None, None), (None, missing, None), (None, pki.client, missing)):
        with pytest.raises(TlsError, match=r"missing\.pem' cannot be read: no such file or directory"):
            client_context(True, *arguments)


def test_a_file_of_something_else_is_named(pki: Pki, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("hello")
    for arguments in ((str(other), None, None), (None, str(other), None), (None, pki.client, str(other))):
        with pytest.raises(TlsError, match=r"other\.txt' has no .* in PEM form"):
            client_context(True, *arguments)


def test_a_damaged_certificate_is_named(pki: Pki, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for arguments in ((str(broken), None, None), (None, str(broken), pki.client_key)):
        with pytest.raises(TlsError, match=r"broken\.pem"):
            client_context(True, *arguments)


def test_a_certificate_without_its_key_says_what_to_add(pki: Pki) -> None:
    with pytest.raises(TlsError, match="add key:"):
        client_context(True, None, pki.client, None)


def test_a_key_of_another_certificate_is_refused(pki: Pki) -> None:
    with pytest.raises(TlsError, match="does not belong to"):
        client_context(True, None, pki.client, pki.server_key)


def test_an_encrypted_key_is_refused_instead_of_asking_on_the_terminal(pki: Pki) -> None:
    with pytest.raises(TlsError, match=r"encrypted\.key' is encrypted"):
        client_context(True, None, pki.client, pki.encrypted_key)


def test_settings_that_contradict_each_other_are_refused(pki: Pki) -> None:
    with pytest.raises(TlsError, match="no effect with verify: false"):
        client_context(False, pki.ca, None, None)
    with pytest.raises(TlsError, match="has no certificate"):
        client_context(True, None, None, pki.client_key)


# files that change


class Files:
    """Copies of the files of the PKI, with modification times that differ."""

    def __init__(self, folder: Path, pki: Pki) -> None:
        self._moment = 1_000_000_000
        self.ca, self.certificate, self.key = (folder / name for name in ("ca.pem", "own.pem", "own.key"))
        self.put(self.ca, pki.ca)
        self.put(self.certificate, pki.client)
        self.put(self.key, pki.client_key)

    def put(self, path: Path, source: str) -> None:
        path.write_bytes(Path(source).read_bytes())
        self._moment += 1
        os.utime(path, (self._moment, self._moment))

    def tls(self) -> EndpointTls:
        return EndpointTls(TlsSettings(True, str(self.ca), str(self.certificate), str(self.key)))


def test_files_that_change_make_a_new_context_once_they_fit_together(pki: Pki, tmp_path: Path) -> None:
    files = Files(tmp_path, pki)
    tls = files.tls()
    before, digest = tls.context, tls.digest
    assert not tls.refresh()
    files.put(files.certificate, pki.server)  # its key is still to come
    assert not tls.refresh()
    assert (tls.context, tls.digest) == (before, digest)
    files.put(files.key, pki.server_key)
    assert tls.refresh()
    assert tls.context is not before
    assert tls.digest == files.tls().digest != digest
    assert not tls.refresh()


def test_files_that_were_only_touched_make_none(pki: Pki, tmp_path: Path) -> None:
    files = Files(tmp_path, pki)
    tls = files.tls()
    files.put(files.ca, pki.ca)
    assert not tls.refresh()


def test_an_authority_that_is_taken_away_is_forgotten(pki: Pki, tmp_path: Path) -> None:
    files = Files(tmp_path, pki)
    tls = files.tls()
    [old] = tls.context.get_ca_certs()
    files.put(files.ca, pki.other_ca)
    assert tls.refresh()
    [new] = tls.context.get_ca_certs()
    assert new["subject"] != old["subject"]


def test_settings_without_files_are_never_read_again() -> None:
    tls = EndpointTls(TlsSettings())
    assert tls.files == []
    assert not tls.refresh()
