"""TLS for tests: certificates made with the openssl command, and a client whose wire is a pair of buffers."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from propylon.config.schema import ListenerTlsConfig
from tests.outbound.conftest import make_ca, make_leaf, openssl

CLIENT_NAMES = "subjectAltName=DNS:client.test,URI:spiffe://a/b,email:alice@a.test"


class Certificates:
    """PEM files, each NAME.pem with NAME.key, signed by ca.pem; rogue.pem signs what nobody trusts.

    a: a.test, localhost, 127.0.0.1. b: b.test, *.wild.test. c: deep.wild.test. rsa: a.test with an RSA key.
    client: a client's. bare: no name. stranger: a client's, signed by itself. past: expired, future: not yet valid.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_ca(folder, "ca")
        make_leaf(folder, "a", "subjectAltName=DNS:a.test,DNS:localhost,IP:127.0.0.1")
        make_leaf(folder, "b", "subjectAltName=DNS:B.test,DNS:*.wild.test")
        make_leaf(folder, "c", "subjectAltName=DNS:deep.wild.test")
        make_leaf(folder, "bare", "basicConstraints=CA:false")
        make_leaf(folder, "client", f"extendedKeyUsage=clientAuth\n{CLIENT_NAMES}")
        make_ca(folder, "stranger")
        self._make("rsa", "rsa:2048", "subjectAltName=DNS:a.test")
        self._make_dated("past", "20200101000000Z", "20210101000000Z")
        self._make_dated("future", "20900101000000Z", "20910101000000Z")

    def _make(self, name: str, kind: str, extensions: str) -> None:
        key, request, more = (str(self.folder / f"{name}.{end}") for end in ("key", "csr", "ext"))
        Path(more).write_text(f"{extensions}\n")
        openssl("req", "-new", "-newkey", kind, "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl(
            "x509", "-req", "-in", request, "-CA", self.path("ca"), "-CAkey", str(self.folder / "ca.key"),
            "-CAcreateserial", "-days", "2", "-extfile", more, "-out", self.path(name),
        )  # fmt: skip

    def _make_dated(self, name: str, begins: str, ends: str) -> None:
        """Make a certificate of another time; `openssl ca` is the one command that lets it be chosen everywhere."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "index.txt").touch()
        (folder / "ca.cnf").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index.txt\nnew_certs_dir={folder}\nrand_serial=yes\n"
            "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
        )
        key, request = str(self.folder / f"{name}.key"), str(folder / "csr")
        openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", request,
        )  # fmt: skip
        openssl(
            "ca", "-batch", "-notext", "-config", str(folder / "ca.cnf"), "-cert", self.path("ca"),
            "-keyfile", str(self.folder / "ca.key"), "-in", request, "-out", self.path(name),
            "-startdate", begins, "-enddate", ends,
        )  # fmt: skip

    def path(self, name: str) -> str:
        """The file of a certificate."""
        return str(self.folder / f"{name}.pem")

    def pair(self, name: str) -> dict[str, str]:
        """Certificate and key, as a configuration names them."""
        return {"certificate": self.path(name), "key": str(self.folder / f"{name}.key")}

    def tls(self, *names: str, **keys: Any) -> dict[str, Any]:
        """The `tls:` of a listener with these certificates."""
        return {"certificates": [self.pair(name) for name in names], **keys}

    def config(self, *names: str, **keys: Any) -> ListenerTlsConfig:
        """The same, checked."""
        return ListenerTlsConfig.model_validate(self.tls(*names, **keys))

    def client(self, certificate: str | None = None, **settings: Any) -> ssl.SSLContext:
        """A client's context that trusts ca.pem, with a certificate of its own perhaps; `settings` are attributes."""
        context = ssl.create_default_context(cafile=self.path("ca"))
        if certificate is not None:
            context.load_cert_chain(**dict(zip(("certfile", "keyfile"), self.pair(certificate).values(), strict=True)))
        for name, value in settings.items():
            setattr(context, name, value)
        return context


class MemoryPeer:
    """A TLS client whose wire is two buffers: `take` what it sends, `give` it what was sent to it."""

    def __init__(
        self, context: ssl.SSLContext, name: str | None = "a.test", session: ssl.SSLSession | None = None
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        if name is None:
            context.check_hostname = False
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=session)
        self.ready = False

    def take(self) -> bytes:
        """Everything it has sent since the last call; goes on with the handshake first."""
        if not self.ready:
            try:
                self.tls.do_handshake()
                self.ready = True
            except ssl.SSLWantReadError:
                pass
        return self._outgoing.read()

    def give(self, data: bytes) -> None:
        """Let it have what arrived for it."""
        self._incoming.write(data)

    def send(self, data: bytes) -> bytes:
        """Encrypt `data`, and return the records."""
        self.tls.write(data)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """Return the record of its close_notify."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        return self._outgoing.read()

    def received(self) -> bytes:
        """Decrypt all that has arrived."""
        pieces = []
        try:
            while piece := self.tls.read(65536):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        return b"".join(pieces)

    def ended(self) -> bool:
        """Whether the other side has said close_notify, behind what was read."""
        try:
            return self.tls.read(1) == b""
        except ssl.SSLWantReadError:
            return False
