"""The `files` policy: the bytes of files below a directory, and never of anything else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from propylon import Exchange, Gateway
from propylon.testing import Answer, TestClient

BIG = bytes(range(256)) * 4096
"""Larger than a piece."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    for name, content in {
        "index.html": b"<h1>app</h1>",
        "app.js": b"let a = 1",
        "app.js.br": b"BR",
        "app.js.gz": b"GZIP",
        "docs/index.html": b"docs",
        "empty/keep.txt": b"",
        ".env": b"SECRET",
        ".well-known/security.txt": b"mail",
        "caf\u00e9 1.txt": b"coffee",
        "big.bin": BIG,
        "page.svg": b"<svg/>",
        "noext": b"?",
        "data.tar.gz": b"tar",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (tmp_path / "secret.txt").write_bytes(b"SECRET")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "outside").symlink_to(tmp_path)
    (folder / "in.txt").symlink_to("app.js")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "fifo")
    return folder


def client(root: Path, **settings: object) -> TestClient:
    gateway = Gateway()
    gateway.route("/*", files={"root": str(root), **settings})
    gateway.route("/app/*", strip="/app", files={"root": str(root), **settings})
    return TestClient(gateway)


def get(root: Path, path: str = "/app.js", headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
    return client(root).request(method, path, headers=headers or {})


def test_a_file_is_sent_whole_with_its_length_kind_and_validators(root: Path) -> None:
    reply = get(root)
    assert (reply.status, reply.body) == (200, b"let a = 1")
    assert reply.headers.get("content-length") == "9"
    assert reply.headers.get("content-type") == "text/javascript; charset=utf-8"
    assert reply.headers.get("x-content-type-options") == "nosniff"
    assert reply.headers.get("accept-ranges") == "bytes"
    assert (reply.headers.get("etag") or "").startswith('"')
    assert (reply.headers.get("last-modified") or "").endswith(" GMT")
    assert get(root, "/big.bin").body == BIG


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/index.html", "text/html; charset=utf-8"),
        ("/page.svg", "image/svg+xml; charset=utf-8"),
        ("/noext", "application/octet-stream"),
        ("/data.tar.gz", "application/gzip"),
    ],
)
def test_the_content_type_follows_the_name(root: Path, path: str, kind: str) -> None:
    assert get(root, path).headers.get("content-type") == kind


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", b"<h1>app</h1>"),
        ("/docs/", b"docs"),
        ("/app/docs/", b"docs"),
        ("/app/", b"<h1>app</h1>"),
        ("/app/app.js", b"let a = 1"),
        ("/caf%C3%A9%201.txt", b"coffee"),
        ("/in.txt", b"let a = 1"),
        ("/.well-known/security.txt", b"mail"),
        ("/empty/keep.txt", b""),
    ],
)
def test_a_path_names_a_file_or_the_index_of_a_directory(root: Path, path: str, body: bytes) -> None:
    reply = get(root, path)
    assert (reply.status, reply.body) == (200, body)


@pytest.mark.parametrize(("path", "location"), [("/docs", "/docs/"), ("/app", "/app/"), ("/docs?a=1", "/docs/?a=1")])
def test_a_directory_without_its_slash_is_redirected_to(root: Path, path: str, location: str) -> None:
    reply = get(root, path)
    assert (reply.status, reply.headers.get("location")) == (308, location)


@pytest.mark.parametrize(
    "path",
    [
        *("/nope", "/empty/", "/outside", "/outside/", "/app.js/", "/out.txt", "/outside/secret.txt", "/.env", "/loop"),
        *("/fifo", "/" + "a" * 300),
    ],
)
def test_everything_else_is_not_there(root: Path, path: str) -> None:
    reply = get(root, path)
    assert (reply.status, reply.json()["code"]) == (404, "match.no_file")


def test_hidden_files_are_served_when_that_is_said(root: Path) -> None:
    assert client(root, hidden=True).get("/.env").body == b"SECRET"
    assert client(root, hidden=True).get("/out.txt").status == 404


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "%2e%2e", "%2E.", "%2f", "%5c", "\\", "", "outside", "secret.txt", "a;"])))
def test_no_spelling_leads_out(root: Path, pieces: list[str]) -> None:
    assert b"SECRET" not in get(root, "/" + "/".join([*pieces, "secret.txt"])).body


def test_a_fallback_answers_for_what_is_not_there(root: Path) -> None:
    app = client(root, fallback="index.html", cache_control="max-age=60")
    reply = app.get("/users/7")
    assert (reply.status, reply.body, reply.headers.get("cache-control")) == (200, b"<h1>app</h1>", "no-cache")
    assert app.get("/out.txt").body == b"<h1>app</h1>"
    assert app.get("/app.js").headers.get("cache-control") == "max-age=60"
    assert client(root, fallback="gone.html").get("/users/7").status == 404


def test_only_reading_is_possible(root: Path) -> None:
    reply = get(root, method="POST")
    assert (reply.status, reply.headers.get("allow")) == (405, "GET, HEAD")


def test_head_has_the_fields_of_get_without_its_body(root: Path) -> None:
    head, whole = get(root, method="HEAD"), get(root)
    assert (head.status, head.body) == (200, b"")
    for name in ("content-length", "content-type", "etag", "last-modified"):
        assert head.headers.get(name) == whole.headers.get(name)


def test_what_the_client_has_is_not_sent_again(root: Path) -> None:
    first = get(root)
    etag, date = first.headers.get("etag") or "", first.headers.get("last-modified") or ""
    for fields in ({"if-none-match": f'"other", W/{etag}'}, {"if-modified-since": date}):
        reply = get(root, headers=fields)
        assert (reply.status, reply.body, reply.headers.get("etag")) == (304, b"", etag)
    assert get(root, headers={"if-match": '"other"'}).status == 412
    (root / "app.js").write_bytes(b"let a = 22")
    assert get(root, headers={"if-none-match": etag}).status == 200


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=4-4", 206, b"a", "bytes 4-4/9"),
        ("bytes=4-", 206, b"a = 1", "bytes 4-8/9"),
        ("bytes=-3", 206, b"= 1", "bytes 6-8/9"),
        ("bytes=0-99", 206, b"let a = 1", "bytes 0-8/9"),
        ("bytes=9-", 416, b"", "bytes */9"),
        ("bytes=0-1,3-4", 200, b"let a = 1", None),
        ("lines=1-2", 200, b"let a = 1", None),
    ],
)
def test_ranges(root: Path, asked: str, status: int, body: bytes, content_range: str | None) -> None:
    reply = get(root, headers={"range": asked})
    assert (reply.status, reply.body, reply.headers.get("content-range")) == (status, body, content_range)
    assert reply.headers.get("content-length") == str(len(body))


def test_a_range_of_another_version_is_the_whole(root: Path) -> None:
    etag = get(root).headers.get("etag") or ""
    assert get(root, headers={"range": "bytes=0-1", "if-range": etag}).status == 206
    assert get(root, headers={"range": "bytes=0-1", "if-range": '"old"'}).status == 200
    assert get(root, "/big.bin", headers={"range": "bytes=300000-700000"}).body == BIG[300000:700001]


def test_precompressed_files_are_sent_to_those_who_take_them(root: Path) -> None:
    app = client(root, precompressed=["br", "gzip"])
    for accepted, coding, body in [
        ("gzip, br", "br", b"BR"),
        ("gzip;q=1, br;q=0.5", "gzip", b"GZIP"),
        ("br;q=0", None, b"let a = 1"),
        ("*", "br", b"BR"),
        ("", None, b"let a = 1"),
    ]:
        reply = app.get("/app.js", headers={"accept-encoding": accepted})
        assert (reply.headers.get("content-encoding"), reply.body) == (coding, body)
        assert reply.headers.get("vary") == "accept-encoding"
        assert reply.headers.get("content-type") == "text/javascript; charset=utf-8"
    tags = {app.get("/app.js", headers={"accept-encoding": each}).headers.get("etag") for each in ("br", "gzip", "x")}
    assert len(tags) == 3
    assert app.get("/index.html", headers={"accept-encoding": "br"}).headers.get("content-encoding") is None


def test_a_file_that_shrinks_while_it_is_sent_is_cut_off(root: Path) -> None:
    class Shrinks:
        def on_response_chunk(self, x: Exchange, data: bytes) -> bytes:
            os.truncate(root / "big.bin", len(data))
            return data

    gateway = Gateway(policies=[Shrinks()])
    gateway.route("/*", files=str(root))
    reply = TestClient(gateway).get("/big.bin")
    assert (reply.status, reply.complete) == (200, False)
    assert reply.exchange.error is not None
    assert "shorter" in reply.exchange.error.log
