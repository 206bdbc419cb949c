"""A small PKI made with the openssl command: one CA, one server certificate, one client certificate."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

OPENSSL = shutil.which("openssl")


@dataclass(frozen=True)
class Pki:
    """Paths of PEM files. The server's names: localhost, 127.0.0.1, api.test."""

    ca: str
    other_ca: str
    server: str
    server_key: str
    client: str
    client_key: str
    encrypted_key: str


def openssl(*arguments: str) -> None:
    if OPENSSL is None:
        pytest.fail("this test makes certificates: install the openssl command (Debian: apt-get install openssl)")
    subprocess.run([OPENSSL, *arguments], check=True, capture_output=True)


def make_ca(folder: Path, name: str) -> str:
    path = folder / f"{name}.pem"
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        "-keyout", str(folder / f"{name}.key"), "-out", str(path),
    )  # fmt: skip
    return str(path)


def make_leaf(folder: Path, name: str, extensions: str) -> tuple[str, str]:
    key, request, path, more = (folder / f"{name}.{end}" for end in ("key", "csr", "pem", "ext"))
    more.write_text(f"authorityKeyIdentifier=keyid\n{extensions}\n")
    openssl(
        "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request),
    )  # fmt: skip
    openssl(
        "x509", "-req", "-in", str(request), "-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key"),
        "-CAcreateserial", "-days", "2", "-extfile", str(more), "-out", str(path),
    )  # fmt: skip
    return str(path), str(key)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    ca, other = make_ca(folder, "ca"), make_ca(folder, "other")
    server, server_key = make_leaf(folder, "server", "subjectAltName=DNS:localhost,DNS:api.test,IP:127.0.0.1")
    client, client_key = make_leaf(folder, "client", "extendedKeyUsage=clientAuth")
    encrypted = folder / "encrypted.key"
    openssl("pkey", "-in", client_key, "-aes256", "-passout", "pass:secret", "-out", str(encrypted))
    return Pki(ca, other, server, server_key, client, client_key, str(encrypted))
