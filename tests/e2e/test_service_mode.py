"""Service mode on real sockets: what its clients and services see, with the defects of its model as tests."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import propylon
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import PATIENCE, real_time, within
from tests.support.front import Fronts
from tests.support.ports import free_port
from tests.support.service_mode import gateway_of, serve
from tests.support.upstream import UpstreamConnection, answer, ok

ROOT = Path(__file__).parents[2]


# requests


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"HEAD"])
async def test_a_request_goes_to_its_service(front: Fronts, method: bytes) -> None:
    mode = await serve(front)
    reply = await mode.client.ask(request_bytes(b"/api/users/a/b?x=%2F&x=+", method=method))
    assert reply.status == 200
    (request,) = mode.upstream.requests
    assert (request.method, request.target) == (method, b"/a/b?x=%2F&x=+")


async def test_the_base_path_of_a_service_is_kept(front: Fronts) -> None:
    mode = await serve(front, base="/base/")
    await mode.client.ask(request_bytes(b"/api/users/zz"))
    await mode.client.ask(request_bytes(b"/api/users/"))
    assert [request.target for request in mode.upstream.requests] == [b"/base/zz", b"/base/"]


async def test_an_encoded_slash_stays_encoded(front: Fronts) -> None:
    mode = await serve(front)
    await mode.client.ask(request_bytes(b"/api/users/p%2Fq"))
    assert mode.upstream.requests[0].target == b"/p%2Fq"


@pytest.mark.parametrize("target", [b"/api/users//%b/pwn", b"/api/users/%%2F%b/pwn", b"/api/users/http://%b/pwn"])
async def test_no_path_leads_to_another_host(front: Fronts, target: bytes) -> None:
    other = await front.upstream()
    mode = await serve(front)
    reply = await mode.client.ask(request_bytes(target % other.authority.encode()))
    assert reply.status == 200
    assert len(mode.upstream.requests) == 1
    assert other.connections == []


@pytest.mark.parametrize(
    "body", [b'{ "a" :  1.0,\r\n"big": 12345678901234567890123 }', b'{"not": json', b"", bytes(range(256)) * 1024]
)
async def test_a_body_arrives_to_the_byte(front: Fronts, body: bytes) -> None:
    mode = await serve(front)
    reply = await mode.client.ask(
        request_bytes(b"/api/users/x", b"content-type: application/json", method=b"POST", body=body)
    )
    assert reply.status == 200
    (request,) = mode.upstream.requests
    assert bytes(request.body) == body
    assert request.header("content-length") == str(len(body))
    assert request.header("content-type") == "application/json"


async def test_a_body_beyond_the_limit_is_refused_while_it_comes(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()

    mode = await serve(front, script)
    await mode.client.send(b"POST /api/users/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(17):
        await mode.client.send(b"10000\r\n" + bytes(65536) + b"\r\n")
    reply = await mode.client.reply("POST")
    assert reply.status == 413
    assert reply.json()["code"] == "FST_ERR_CTP_BODY_TOO_LARGE"
    await mode.upstream.connections[0].gone()


async def test_cookies_origin_and_tokens_are_sent_on_and_hops_are_not(front: Fronts) -> None:
    mode = await serve(front)
    lines = [
        b"cookie: a=1; b=2", b"origin: https://app.example", b"authorization: Bearer t", b"proxy-authorization: b",
        b"connection: keep-alive, x-hop", b"x-hop: 1", b"te: gzip", b"x-forwarded-for: 6.6.6.6",
    ]  # fmt: skip
    await mode.client.ask(request_bytes(b"/api/users/x", *lines, host=b"api.example:8080"))
    (request,) = mode.upstream.requests
    expected = {
        "cookie": "a=1; b=2", "origin": "https://app.example", "authorization": "Bearer t", "proxy-authorization": None,
        "x-hop": None, "te": None, "host": mode.upstream.authority, "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http", "x-forwarded-host": "api.example:8080",
        "x-forwarded-port": str(mode.gateway.port),
    }  # fmt: skip
    assert {name: request.header(name) for name in expected} == expected


@pytest.mark.parametrize("given", [b"abc-123", b"x" * 128])
async def test_a_request_id_is_kept_and_is_one_for_both_sides(front: Fronts, given: bytes) -> None:
    mode = await serve(front)
    reply = await mode.client.ask(request_bytes(b"/api/users/x", b"x-request-id: " + given))
    assert reply.header("x-request-id") == mode.upstream.requests[0].header("x-request-id") == given.decode()


@pytest.mark.parametrize("given", [b"", b"x" * 129, b"a b", b'a"b', b"${x}"])
async def test_a_request_id_that_cannot_be_kept_is_replaced_on_both_sides(front: Fronts, given: bytes) -> None:
    mode = await serve(front)
    reply = await mode.client.ask(request_bytes(b"/api/users/x", b"x-request-id: " + given))
    made = reply.header("x-request-id")
    assert made is not None
    assert re.fullmatch(r"[0-9a-f-]{36}", made)
    assert mode.upstream.requests[0].header("x-request-id") == made


async def test_every_answer_has_a_request_id(front: Fronts) -> None:
    mode = await serve(front)
    for target in (b"/healthz", b"/api/nobody/x", b"/nowhere"):
        reply = await mode.client.ask(request_bytes(target, b"x-request-id: mine"))
        assert reply.header("x-request-id") == "mine"


async def test_two_services_are_told_apart(front: Fronts) -> None:
    orders = await front.upstream(answer(ok(b"orders")))
    users = await front.upstream(answer(ok(b"users")))
    gateway = await front.start(gateway_of({"users": [users.url], "orders": [orders.url]}))
    client = await front.client(gateway)
    assert (await client.ask(request_bytes(b"/api/orders/1"))).body == b"orders"
    assert (await client.ask(request_bytes(b"/api/users/1"))).body == b"users"


# responses


async def test_a_response_passes_as_it_is(front: Fronts) -> None:
    lines = [b"set-cookie: a=1", b"set-cookie: b=2", b"etag: W/1", b"location: /next"]
    mode = await serve(front, answer(ok(b"moved", *lines, status=b"302 Found")))
    reply = await mode.client.ask(request_bytes(b"/api/users/x"))
    assert (reply.status, bytes(reply.body)) == (302, b"moved")
    assert reply.all("set-cookie") == [b"a=1", b"b=2"]
    assert (reply.header("etag"), reply.header("location")) == ("W/1", "/next")


async def test_a_compressed_body_stays_compressed(front: Fronts) -> None:
    packed = gzip.compress(b"hello" * 100)
    mode = await serve(front, answer(ok(packed, b"content-encoding: gzip")))
    reply = await mode.client.ask(request_bytes(b"/api/users/x", b"accept-encoding: gzip"))
    assert reply.header("content-encoding") == "gzip"
    assert gzip.decompress(bytes(reply.body)) == b"hello" * 100


@pytest.mark.parametrize("way", [b"api", b"sse"])
async def test_a_service_that_does_not_answer_in_time_is_a_504(front: Fronts, way: bytes) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()

    mode = await serve(front, script, HTTP_PROXY_TIMEOUT_MS="200")
    reply = await mode.client.ask(request_bytes(b"/%b/users/x" % way))
    assert reply.status == 504
    assert reply.json() == {"error": "upstream_timeout", "message": "Upstream request timed out"}
    await mode.upstream.connections[0].gone()


@pytest.mark.parametrize("way", [b"api", b"sse"])
async def test_a_response_that_has_begun_is_not_cut(front: Fronts, way: bytes) -> None:
    release = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n")
        await release.wait()
        connection.send(b"data: 2\n\n")
        connection.close()

    mode = await serve(front, script, HTTP_PROXY_TIMEOUT_MS="100")
    await mode.client.send(request_bytes(b"/%b/users/events" % way))
    first = await mode.client.read_until(b"data: 1\n\n")
    assert b"content-type: text/event-stream\r\n" in first
    await real_time(0.4)  # more than the timeout and the 0.1 s it may be noticed late
    release.set()
    assert b"data: 2\n\n" in await mode.client.read_until(b"0\r\n\r\n")


async def test_a_service_that_is_down_is_a_502(front: Fronts) -> None:
    mode = await serve(front)
    mode.upstream.stop_listening()
    reply = await mode.client.ask(request_bytes(b"/api/users/x"))
    assert reply.status == 502
    assert reply.json() == {"error": "upstream_unavailable", "message": "Failed to reach upstream"}


async def test_a_client_that_goes_away_ends_the_request_to_the_service(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()

    mode = await serve(front, script)
    await mode.client.send(request_bytes(b"/api/users/x"))
    await mode.upstream.until(lambda: bool(mode.upstream.requests), "the request")
    mode.client.reset()
    await mode.upstream.connections[0].gone()


async def test_the_probes_ask_no_service(front: Fronts) -> None:
    mode = await serve(front)
    assert bytes((await mode.client.ask(request_bytes(b"/healthz"))).body) == b'{"ok":true}'
    assert bytes((await mode.client.ask(request_bytes(b"/readyz"))).body) == b'{"ok":true,"upstreamServices":1}'
    assert mode.upstream.connections == []


async def test_an_unknown_service_is_a_404(front: Fronts) -> None:
    mode = await serve(front)
    reply = await mode.client.ask(request_bytes(b"/api/nobody/x"))
    assert reply.status == 404
    assert reply.json() == {"error": "unknown_service", "message": "No upstream configured for service: nobody"}


# the command


@asynccontextmanager
async def running(script: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A shell script that ends in `propylon`; killed at the end if it still lives."""
    inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, "sh", sys.executable,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=ROOT,
        env={**inherited, "PYTHONPATH": str(Path(propylon.__file__).parents[1]), **environment},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_with(process: asyncio.subprocess.Process, text: str) -> str:
    """Wait for the line of its output that has `text`."""
    assert process.stdout is not None
    said = ""
    async with within(10, f"the process says {text!r}"):
        while line := (await process.stdout.readline()).decode():
            said += line
            if text in line:
                return line
    raise AssertionError(f"it ended without {text!r}: {said}")


async def test_the_command_serves_the_environment_until_a_signal(front: Fronts) -> None:
    upstream = await front.upstream(answer(ok(b"hello")))
    port = free_port()
    given = {"UPSTREAMS": json.dumps({"users": [upstream.url]}), "HOST": "127.0.0.1", "PORT": str(port)}
    async with running('exec "$1" -m propylon run', **given) as process:
        assert f"listening on 127.0.0.1:{port}" in await line_with(process, "listening on")
        async with RawClient(port) as client:
            assert bytes((await client.ask(request_bytes(b"/api/users/x"))).body) == b"hello"
        process.send_signal(signal.SIGTERM)
        async with within(PATIENCE * 2, "the process ends"):
            assert await process.wait() == 0


async def test_the_example_of_the_environment_runs() -> None:
    port = free_port()
    script = f'set -a; . ./.env.example; set +a; HOST=127.0.0.1; PORT={port}; exec "$1" -m propylon run'
    async with running(script) as process:
        await line_with(process, f"listening on 127.0.0.1:{port}")
        async with RawClient(port) as client:
            reply = await client.ask(request_bytes(b"/readyz"))
            assert reply.json() == {"ok": True, "upstreamServices": 2}
        process.send_signal(signal.SIGTERM)
        async with within(PATIENCE * 2, "the process ends"):
            assert await process.wait() == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give a FILE or module:attribute, or set UPSTREAMS"),
        ({"UPSTREAMS": "{"}, "environment: UPSTREAMS: must be valid JSON"),
        ({"UPSTREAMS": "{}", "NODE_ENV": "production"}, "environment: NODE_ENV: in production AUTH_REQUIRED is true"),
        ({"UPSTREAMS": "{}", "AUTH_REQUIRED": "true"}, "environment: AUTH_REQUIRED: tokens cannot be checked yet"),
        (
            {"UPSTREAMS": "{}", "RATE_LIMIT_MAX": "9"},
            "RATE_LIMIT_MAX: rate limits are not there yet",
        ),
    ],
)
async def test_what_cannot_be_served_is_not_served(given: dict[str, str], message: str) -> None:
    async with running('exec "$1" -m propylon run', PORT=str(free_port()), **given) as process:
        await line_with(process, message)
        async with within(PATIENCE * 2, "the process ends"):
            assert await process.wait() != 0
