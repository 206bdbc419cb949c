"""Asking over HTTP: bounded answers, bounded waits, TLS that is checked, and errors that say what is wrong."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from propylon.build.errors import BuildError
from propylon.build.snapshot import build_snapshot
from propylon.config.load import validate
from propylon.services.discovery import DiscoveryError, _http
from propylon.services.discovery._http import TlsConfig, open_session
from tests.conftest import BOTH_LOOPS
from tests.support.deadline import never, within
from tests.support.tls import Certificates


async def _echo(request: web.Request) -> web.Response:
    body = {"path": request.raw_path, "query": list(request.query.items()), "agent": request.headers.get("x-agent")}
    return web.json_response(body, headers={"x-index": "7", "set-cookie": "a=b"})


async def _refuse(request: web.Request) -> web.Response:
    return web.Response(status=403, text="Permission\n denied \x1b[31m" + "x" * 5000)


async def _redirect(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"location": "/echo"})


async def _large(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await response.write(b"[1, " * 10_000)
    except ConnectionError:
        return response


async def _zipped(request: web.Request) -> web.Response:
    response = web.json_response([1])
    response.enable_compression(web.ContentCoding.gzip)
    return response


async def _text(request: web.Request) -> web.Response:
    return web.Response(text="{nonsense")


async def _silent(request: web.Request) -> web.Response:
    await never()
    return web.Response()


async def _cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-length": "100"})
    await response.prepare(request)
    await response.write(b"[1,")
    assert request.transport is not None
    request.transport.abort()
    return response


async def _cookies(request: web.Request) -> web.Response:
    return web.json_response(dict(request.cookies))


PATHS: dict[str, Any] = {
    "/echo": _echo, "/refuse": _refuse, "/redirect": _redirect, "/large": _large, "/zipped": _zipped,
    "/text": _text, "/silent": _silent, "/cut": _cut, "/cookies": _cookies,
}  # fmt: skip


@asynccontextmanager
async def server(tls: ssl.SSLContext | None = None, unix: str | None = None) -> AsyncIterator[str]:
    app = web.Application()
    for path, answer in PATHS.items():
        app.router.add_get(path, answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        if unix is not None:
            await web.UnixSite(runner, unix).start()
            yield unix
        else:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def failure(base: str, path: str, timeout: float = 3.0, limit: int = 100_000, **tls: Any) -> str:
    """What an error says."""
    with pytest.raises(DiscoveryError) as caught:
        async with open_session(base, tls=TlsConfig(**tls)) as session:
            await session.get_json(path, timeout=timeout, limit=limit)
    assert str(caught.value).isprintable()
    return str(caught.value)


@BOTH_LOOPS
async def test_json_and_its_header_fields_come_back() -> None:
    async with server() as base, open_session(base, headers={"x-agent": "me"}) as session:
        params = [("tag", "a b"), ("tag", "c&d")]
        answer = await session.get_json("/echo", params=params, timeout=3)
        assert answer.data == {
            "path": "/echo?tag=a+b&tag=c%26d",
            "query": [list(each) for each in params],
            "agent": "me",
        }
        assert answer.headers["X-Index"] == "7"


async def test_no_cookie_is_kept() -> None:
    async with server() as base, open_session(base.replace("127.0.0.1", "localhost")) as session:
        assert "Set-Cookie" in (await session.get_json("/echo", timeout=3)).headers
        assert (await session.get_json("/cookies", timeout=3)).data == {}


async def test_a_server_may_be_behind_a_unix_socket_or_a_path(tmp_path: Any) -> None:
    async with server(unix=str(tmp_path / "s")) as unix, open_session("http://localhost", unix_path=unix) as session:
        assert (await session.get_json("/echo", timeout=3)).data["path"] == "/echo"
    async with server() as base, open_session(f"{base}/echo/") as session:
        with pytest.raises(DiscoveryError, match="answered /x with 404"):
            await session.get_json("/x", timeout=3)


async def test_a_refusal_is_told_with_the_beginning_of_its_reason() -> None:
    async with server() as base:
        said = await failure(base, "/refuse")
        assert said.startswith(f"{base} answered /refuse with 403 Forbidden: Permission denied [31mxxx")
        assert len(said) < 400


async def test_a_redirect_is_not_followed() -> None:
    async with server() as base:
        assert "answered /redirect with 302" in await failure(base, "/redirect")


async def test_an_answer_without_end_is_refused() -> None:
    async with server() as base:
        assert "more than 100000 bytes" in await failure(base, "/large")


@pytest.mark.parametrize("path", ["/text", "/zipped"])
async def test_what_is_no_json_is_refused_and_nothing_is_unpacked(path: str) -> None:
    async with server() as base:
        assert "with what is no JSON" in await failure(base, path)


async def test_a_silent_server_is_given_up() -> None:
    async with server() as base, within(2, "the timeout"):
        assert await failure(base, "/silent", timeout=0.05) == f"{base} did not answer /silent in time"


async def test_an_answer_that_is_cut_off_is_an_error() -> None:
    async with server() as base:
        assert "/cut: " in await failure(base, "/cut")


async def test_nobody_there_is_an_error() -> None:
    async with server() as base:
        pass
    assert base in await failure(base, "/echo")


async def test_a_silent_stream_is_given_up_by_its_idle_time() -> None:
    async with server() as base, open_session(base) as session:
        with pytest.raises(DiscoveryError, match="in time"):
            async with session.request("/silent", total=None, idle=0.05) as response:
                await response.read()


# TLS


async def test_a_certificate_is_checked_and_its_name_too(certificates: Certificates) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.path("b"), str(certificates.folder / "b.key"))
    ca = certificates.path("ca")
    async with server(context) as base:
        assert "certificate verify failed" in await failure(base, "/echo")
        assert "certificate verify failed" in await failure(base.replace("https", "HTTPS"), "/echo")
        assert "certificate" in await failure(base, "/echo", ca=ca)  # it is for b.test
        for tls in (TlsConfig(ca=ca, server_name="b.test"), TlsConfig(verify=False)):
            async with open_session(base, tls=tls) as session:
                assert (await session.get_json("/echo", timeout=3)).data["path"] == "/echo"


async def test_a_certificate_is_shown_to_a_server_that_asks(certificates: Certificates) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.path("ca"))
    context.load_cert_chain(certificates.path("a"), str(certificates.folder / "a.key"))
    context.verify_mode = ssl.CERT_REQUIRED
    async with server(context) as base:
        tls = TlsConfig(ca=certificates.path("ca"), **certificates.pair("client"))
        async with open_session(base, tls=tls) as session:
            assert (await session.get_json("/echo", timeout=3)).data["path"] == "/echo"
        await failure(base, "/echo", ca=certificates.path("ca"))


async def test_a_tls_file_that_is_none_is_an_error(tmp_path: Any) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    assert "has no certificate in PEM form" in await failure("https://127.0.0.1:1", "/", ca=str(tmp_path / "ca.pem"))


@pytest.mark.parametrize(
    "settings", [{"key": __file__}, {"verify": False, "ca": __file__}, {"ca": "/nonexistent"}, {"verfy": True}]
)
def test_tls_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TlsConfig.model_validate(settings)


# without the library


@pytest.mark.parametrize(
    "discover", [{"consul": "a"}, {"etcd": {"prefix": "/a/"}}, {"docker": {}}, {"kubernetes": {"port": 80}}]
)
def test_without_the_library_a_configuration_is_refused(discover: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "find_spec", lambda name: None)
    config = validate({"services": {"a": {"discover": discover}}})
    with pytest.raises(BuildError, match=r"services.a.discover: .* pip install 'propylon\[discovery\]'"):
        build_snapshot(config)
