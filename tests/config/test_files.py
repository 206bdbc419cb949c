"""The files that a configuration names are found, wherever they are named."""

from __future__ import annotations

from pathlib import Path

from propylon.config.files import files_named
from propylon.config.load import load
from tests.support.tls import Certificates


def test_every_file_is_found(tmp_path: Path, certificates: Certificates) -> None:
    (tmp_path / "404.html").write_text("")
    (tmp_path / "found.json").write_text("[]")
    (tmp_path / "secret").write_text("s3cret")
    a, client, ca = certificates.pair("a"), certificates.pair("client"), certificates.path("ca")
    file = tmp_path / "g.yaml"
    file.write_text(
        f"listen: {{address: ':0', tls: {{certificate: {a['certificate']}, key: {a['key']},"
        f" client_certificates: {{ca: {ca}}}}}}}\n"
        "errors: {pages: {404: 404.html}}\n"
        "services:\n"
        f"  s: {{endpoints: ['https://a.test'], tls: {{certificate: {client['certificate']}, key: {client['key']}}}}}\n"
        "  f: {discover: {file: found.json}}\n"
        "routes: [{path: /, respond: {body: {from_file: secret}}}]\n"
    )
    loaded = load(file)
    named = {*a.values(), *client.values(), ca, str(tmp_path / "404.html")}
    assert {str(path) for path in files_named(loaded.config)} == named
    assert {str(path) for path in loaded.files} == {str(file), str(tmp_path / "secret")}
    assert loaded.secrets == {"s3cret"}
