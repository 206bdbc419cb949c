"""`propylon cert`."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from propylon.config.load import load
from propylon.inbound.tls import ListenerTls
from propylon.x509 import read_certificate
from tests.inbound.test_tls import shaken


def test_the_certificate_works_and_the_block_can_be_pasted(run: Any, folder: Path) -> None:
    result = run("cert", "Localhost", "*.dev.test", "127.0.0.1", "::1", "--dir", "certs")
    assert result.exit_code == 0, result.output
    found = read_certificate((folder / "certs/localhost.pem").read_bytes())
    assert (found.dns_names, found.addresses) == (("localhost", "*.dev.test"), ("127.0.0.1", "::1"))
    pasted = result.output[result.output.index("listen:") :]
    assert yaml.safe_load(pasted)["listen"][0]["address"] == "127.0.0.1:8443"
    (folder / "tls.yaml").write_text(pasted + "routes: [{path: /, respond: hi}]\n")
    config = load(folder / "tls.yaml").config.listen[0].tls
    assert config is not None
    context = ssl.create_default_context(cafile=str(folder / "certs/ca.pem"))
    assert shaken(ListenerTls(config, "listener"), context, "x.dev.test")[0].version == "TLSv1.3"
    assert "certs/ca.pem" in result.output


def test_keys_are_for_their_owner_only_and_never_printed(run: Any, folder: Path) -> None:
    result = run("cert", "a.test")
    for name in ("ca.key", "a.test.key"):
        assert stat.S_IMODE((folder / "certs" / name).stat().st_mode) == 0o600
    assert "PRIVATE" not in result.output


def test_the_authority_is_kept_and_nothing_is_overwritten(run: Any, folder: Path) -> None:
    run("cert", "a.test")
    kept = {path.name: path.read_bytes() for path in (folder / "certs").iterdir()}
    refused = run("cert", "a.test")
    assert refused.exit_code == 1
    assert "a.test.pem is there already: --force replaces it" in refused.stderr
    assert {path.name: path.read_bytes() for path in (folder / "certs").iterdir()} == kept
    assert run("cert", "b.test").exit_code == 0
    assert run("cert", "a.test", "--force").exit_code == 0
    now = {path.name: path.read_bytes() for path in (folder / "certs").iterdir()}
    assert {name for name in kept if kept[name] == now[name]} == {"ca.pem", "ca.key"}


@pytest.mark.parametrize("name", ["a b", "-a.test", "a..b", "", "*", "../x", "a" * 64, "ä.test", "ca"])
def test_what_is_no_name_is_refused(run: Any, folder: Path, name: str) -> None:
    result = run("cert", "--", name)
    assert result.exit_code == 1
    assert not (folder / "certs").exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "ca.key").unlink(), "only one of them is there"),
        (lambda folder: (folder / "ca.pem").write_text("x"), "cannot be read"),
        (lambda folder: (folder / "ca.key").write_bytes((folder / "a.test.key").read_bytes()), "is not the key of"),
    ],
)
def test_an_authority_that_is_damaged_is_told(run: Any, folder: Path, damage: Any, words: str) -> None:
    run("cert", "a.test")
    damage(folder / "certs")
    result = run("cert", "b.test")
    assert result.exit_code == 1
    assert words in result.stderr


def test_a_folder_that_cannot_be_made_is_told(run: Any, folder: Path) -> None:
    (folder / "file").write_text("")
    result = run("cert", "a.test", "--dir", "file/certs")
    assert (result.exit_code, "Traceback" in result.output) == (1, False)
