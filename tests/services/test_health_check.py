"""One health check: what is asked, what counts as well, and what an endpoint may do without hurting the gateway."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from propylon.address import EndpointAddress
from propylon.outbound.connect import connect
from propylon.outbound.http1 import EndpointConnection
from propylon.outbound.pool import Pool
from propylon.services.health_check import MAX_BODY_BYTES, CheckedAddress, Checker
from propylon.services.settings import HealthCheck
from tests.conftest import BOTH_LOOPS
from tests.support.deadline import real_time, until, within
from tests.support.upstream import Script, ScriptedUpstream, UpstreamConnection, answer, chunked, ok

SHORT = 0.15  # seconds, of checks that are to time out


def checker(url: str, host: bytes | None = None, **settings: Any) -> Checker:
    checked = CheckedAddress(url, HealthCheck(**({"path": "/healthz"} | settings)), "", None, host)

    async def opener(pool: Pool, timeout: float | None) -> EndpointConnection:
        _, made = await connect(
            checked.address,
            lambda: EndpointConnection(pool),
            resolver=None,  # type: ignore[arg-type]
            tls=None,
            server_name=None,
            timeout=timeout,
        )
        return made

    return Checker(checked, opener)


@asynccontextmanager
async def endpoint(script: Script) -> AsyncIterator[ScriptedUpstream]:
    """An endpoint of which no check leaves a connection open."""
    async with ScriptedUpstream(script) as upstream:
        yield upstream
        await until(lambda: all(each.eof for each in upstream.connections), "the check closes its connection")


def raw(data: bytes, *, close: bool = False) -> Script:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(data)
        if close:
            connection.close()

    return script


@BOTH_LOOPS
async def test_an_endpoint_that_answers_well_is_well() -> None:
    async with endpoint(answer(ok())) as upstream:
        assert await checker(upstream.url).run() is None
        request = upstream.requests[0]
        assert (request.method, request.target) == (b"GET", b"/healthz")
        assert request.header("host") == upstream.authority
        assert request.header("user-agent") == "propylon-health"
        assert request.header("x-forwarded-for") is None


@pytest.mark.parametrize(
    ("settings", "status", "well"),
    [
        ({}, b"204 No Content", True),
        ({}, b"302 Found", True),
        ({}, b"404 Not Found", False),
        ({}, b"503 Service Unavailable", False),
        ({"statuses": frozenset((200,))}, b"204 No Content", False),
        ({"statuses": frozenset((401,))}, b"401 Unauthorized", True),
    ],
)
async def test_its_status_says_whether_it_is_well(settings: dict[str, Any], status: bytes, well: bool) -> None:
    async with endpoint(raw(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")) as upstream:
        reason = await checker(upstream.url, **settings).run()
        assert reason == (None if well else f"GET /healthz answered {status[:3].decode()}")


async def test_the_request_is_as_configured() -> None:
    async with endpoint(answer(ok())) as upstream:
        made = checker(
            f"{upstream.url}/base",
            path="/ready?full=1",
            method="POST",
            headers=(("Host", "users.example"), ("x-forwarded-proto", "https"), ("User-Agent", "mine")),
        )
        assert await made.run() is None
        request = upstream.requests[0]
        assert (request.method, request.target) == (b"POST", b"/base/ready?full=1")
        assert request.header("host") == "users.example"
        assert request.header("x-forwarded-proto") == "https"
        assert request.header("user-agent") == "mine"
        assert request.header("content-length") == "0"
        assert made.what == "POST /base/ready?full=1"


async def test_the_host_of_the_service_is_sent() -> None:
    async with endpoint(answer(ok())) as upstream:
        await checker(upstream.url, b"users.example").run()
        assert upstream.requests[0].header("host") == "users.example"


async def test_another_port_is_asked_and_named() -> None:
    async with endpoint(raw(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")) as upstream:
        reason = await checker("http://127.0.0.1:1", port=upstream.port).run()
        assert reason == f"GET {upstream.url}/healthz answered 500"
        assert upstream.requests[0].header("host") == upstream.authority


def test_another_port_of_an_address_in_brackets_and_of_a_socket() -> None:
    check = HealthCheck(port=9000)
    six = CheckedAddress("http://[::1]:80/base", check, "", None, None)
    assert six.address == EndpointAddress.parse("http://[::1]:9000/base")
    unix = CheckedAddress("unix:/run/a.sock", check, "", None, None)
    assert unix.address == EndpointAddress.parse("unix:/run/a.sock")


@pytest.mark.parametrize(
    ("body", "well"),
    [(b"status: UP", True), (b"status: DOWN", False), (b"x" * (MAX_BODY_BYTES - 2) + b"UP", True)],
)
@pytest.mark.parametrize("frame", [ok, chunked], ids=["length", "chunked"])
async def test_the_body_has_to_contain_a_text(body: bytes, well: bool, frame: Any) -> None:
    async with endpoint(answer(frame(body))) as upstream:
        reason = await checker(upstream.url, body=b"UP").run()
        assert reason == (None if well else "GET /healthz answered 200 without 'UP'")


async def test_no_more_than_the_first_64_kib_of_a_body_are_looked_at() -> None:
    async with endpoint(raw(ok(b"x" * MAX_BODY_BYTES + b"UP"))) as upstream:
        assert await checker(upstream.url, body=b"UP").run() == "GET /healthz answered 200 without 'UP'"


async def test_a_body_without_end_is_cut() -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while not connection.lost:
            connection.send(b"x" * 65536)
            await connection.drained(on_full=lambda: None)

    async with endpoint(script) as upstream, within(3, "the check ends"):
        assert await checker(upstream.url, body=b"UP").run() == "GET /healthz answered 200 without 'UP'"


async def test_a_body_that_nobody_looks_at_is_not_waited_for() -> None:
    async with endpoint(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")) as upstream:
        assert await checker(upstream.url).run() is None


@BOTH_LOOPS
@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"], ids=["nothing", "head", "body"]
)
async def test_an_endpoint_that_hangs_is_ill_after_its_time(data: bytes) -> None:
    began = time.monotonic()
    async with endpoint(raw(data)) as upstream:
        reason = await checker(upstream.url, timeout=SHORT, body=b"UP").run()
    assert reason == f"GET /healthz: no answer within {SHORT:g} s"
    assert time.monotonic() - began < 2


def test_nothing_but_its_own_time_ends_a_check() -> None:
    timeouts = checker("http://127.0.0.1:1", timeout=600.0)._request("/healthz").exchange.timeouts
    assert (timeouts.response, timeouts.idle) == (None, None)


async def test_a_body_that_drips_gets_no_more_time() -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while not connection.eof:
            connection.send(b"x")
            await real_time(SHORT / 10)  # the time of a check is what is tested

    async with endpoint(script) as upstream, within(2, "the check ends"):
        assert await checker(upstream.url, timeout=SHORT, body=b"UP").run() is not None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "head.bad"),
        (b"\x15\x03\x01\x00\x02\x02\x46" * 20000, "head.bad"),
        (b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", "head.bad"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "relay.bad_chunk"),
        (b"", "attempt.closed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nUP", "relay.truncated"),
    ],
)
async def test_what_is_no_answer_is_a_reason(data: bytes, reason: str) -> None:
    async with endpoint(raw(data, close=True)) as upstream:
        upstream.tolerant = True
        found = await checker(upstream.url, body=b"UP", timeout=2.0).run()
        assert found is not None
        assert found.startswith(f"GET /healthz: {reason}")


async def test_interim_answers_are_no_answers() -> None:
    async with endpoint(raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" + ok())) as upstream:
        assert await checker(upstream.url).run() is None


async def test_each_check_opens_a_connection_of_its_own() -> None:
    async with endpoint(answer(ok())) as upstream:
        made = checker(upstream.url)
        assert [await made.run(), await made.run()] == [None, None]
        assert len(upstream.connections) == 2
        upstream.stop_listening()
        assert "refused" in (await made.run() or "")


async def nothing(connection: UpstreamConnection) -> None:
    pass


@BOTH_LOOPS
async def test_a_connection_may_be_all_that_is_asked_for() -> None:
    async with endpoint(nothing) as upstream:
        made = checker(upstream.url, path=None)
        assert await made.run() is None
        await until(lambda: upstream.connections[0].eof)
        assert upstream.received == b""
        upstream.stop_listening()
        reason = await made.run()
        assert reason is not None
        assert reason.startswith("a connection: ")
        assert upstream.url not in reason
