"""Certificates that change on disk: looked at, read as a whole, and never a reason to stop."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from propylon.config.schema import ListenerTlsConfig
from propylon.inbound.tls import ListenerTls
from propylon.tls_files import CertificateFiles
from tests.support.tls import Certificates


class Stat:
    """What is looked at of a file."""

    def __init__(self, moment: int) -> None:
        self.st_mtime_ns, self.st_ino, self.st_size = moment, 1, 1


class Disk:
    """A pair of files, and a `stat` whose moments are numbers: files written at once differ all the same."""

    def __init__(self, certificates: Certificates, folder: Path) -> None:
        self._certificates = certificates
        self.certificate, self.key = folder / "live.pem", folder / "live.key"
        self.moment = 0
        self.put("a")
        data = {"certificate": str(self.certificate), "key": str(self.key)}
        self.tls = ListenerTls(ListenerTlsConfig.model_validate(data), "listener")
        self.files = CertificateFiles(self.tls, "listener", self.stat)

    def put(self, name: str, *, key: bool = True) -> None:
        self.moment += 1
        shutil.copy(self._certificates.path(name), self.certificate)
        if key:
            shutil.copy(self._certificates.pair(name)["key"], self.key)

    def stat(self, path: str) -> Any:
        os.stat(path)  # raises for a file that is not there
        return Stat(self.moment)

    @property
    def names(self) -> tuple[str, ...]:
        return self.tls.identities.certificates[0].certificate.dns_names


@pytest.fixture
def disk(certificates: Certificates, tmp_path: Path) -> Disk:
    return Disk(certificates, tmp_path)


def test_a_new_pair_is_taken_up(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    before = disk.tls.identities
    disk.files.refresh()
    assert disk.tls.identities is before, "nothing has changed, nothing is read"
    disk.put("b")
    with caplog.at_level(logging.INFO):
        disk.files.refresh()
        disk.files.refresh()
    assert disk.names == ("b.test", "*.wild.test")
    assert [record.getMessage() for record in caplog.records] == [
        "listener: took up the certificates that have changed"
    ]


def test_half_of_a_pair_is_told_once_and_the_old_one_stays(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    before = disk.tls.identities
    disk.put("b", key=False)
    with caplog.at_level(logging.INFO):
        disk.files.refresh()
        disk.files.refresh()
        assert disk.tls.identities is before
        assert len(caplog.records) == 1
        assert "the certificates that were there stay in use" in caplog.text
        assert "does not belong to certificate" in caplog.text
        disk.put("b")
        disk.files.refresh()
    assert disk.names == ("b.test", "*.wild.test")


def test_files_that_are_gone_change_nothing(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    before = disk.tls.identities
    disk.key.unlink()
    disk.files.refresh()
    disk.files.refresh()
    assert disk.tls.identities is before
    assert len(caplog.records) == 1
    assert "cannot be read" in caplog.text
    disk.put("b")
    disk.files.refresh()
    assert disk.names == ("b.test", "*.wild.test")


@pytest.mark.parametrize("change", ["st_mtime_ns", "st_ino", "st_size"])
def test_each_sign_of_a_change_is_enough(certificates: Certificates, tmp_path: Path, change: str) -> None:
    found = Stat(1)
    disk = Disk(certificates, tmp_path)
    files = CertificateFiles(disk.tls, "listener", lambda path: cast("Any", found))
    before = disk.tls.identities
    setattr(found, change, 2)
    files.refresh()
    assert disk.tls.identities is not before


def test_a_link_that_leads_elsewhere_is_a_change(certificates: Certificates, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copy(certificates.path(name), tmp_path / name / "tls.pem")
        shutil.copy(certificates.pair(name)["key"], tmp_path / name / "tls.key")
    current = tmp_path / "current"
    current.symlink_to("a")
    data = {"certificate": str(current / "tls.pem"), "key": str(current / "tls.key")}
    tls = ListenerTls(ListenerTlsConfig.model_validate(data), "listener")
    files = CertificateFiles(tls, "listener")
    (tmp_path / "new").symlink_to("b")
    (tmp_path / "new").rename(current)
    files.refresh()
    assert tls.identities.certificates[0].certificate.dns_names == ("b.test", "*.wild.test")
