"""TLS: one certificate for all gateways of a call, and what every client offers.

What is agreed on is the same for all, because no client offers anything else: TLS 1.3, TLS_AES_128_GCM_SHA256, X25519.
Several gateways cannot be told the cipher of TLS 1.3, so it is not their configurations that say so.
"""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.tools import executable

# Read by every client that stands on OpenSSL when OPENSSL_CONF names it (config(5)).
CLIENTS = """
openssl_conf = all
[all]
ssl_conf = applications
[applications]
system_default = offered
[offered]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """A self-signed ECDSA P-256 certificate for 127.0.0.1 with its key, alone and in one file."""

    certificate: Path
    key: Path
    both: Path
    clients: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs in its environment to offer what all of them offer."""
        return {"OPENSSL_CONF": str(self.clients)}

    def client_context(self) -> ssl.SSLContext:
        """For the probes of the benchmark itself: it trusts this certificate alone."""
        context = ssl.create_default_context(cafile=self.certificate)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context


def make_identity(directory: Path) -> Identity:
    """Make the certificate and the clients' configuration in a directory."""
    made = Identity(*(directory / name for name in ("certificate.pem", "key.pem", "both.pem", "clients.cnf")))
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(made.key), "-out", str(made.certificate)]
    command = [executable("openssl"), "req", "-x509", *curve, *names, *files]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    made.both.write_text(made.certificate.read_text() + made.key.read_text())
    made.clients.write_text(CLIENTS)
    return made
