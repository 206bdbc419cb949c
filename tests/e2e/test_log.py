"""What the log says of each end of an exchange: the status and the response that the client saw, and who it was."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from propylon import Exchange, Gateway, GatewayError, Message, Response
from propylon.config.schema import PolicyEntry
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import until
from tests.support.frames import SWITCH, close_frame, frame, handshake
from tests.support.front import Fronts
from tests.support.ports import free_port
from tests.support.upstream import Script, UpstreamConnection, answer, ok

Ask = Callable[[RawClient], Awaitable[object]]
PARTIAL = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n"
FACTS = ("method", "path", "client", "route", "service", "endpoint", "attempts", "bytes_in", "bytes_out", "id")


@pytest.fixture(autouse=True)
def _everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "propylon")


def lines(caplog: pytest.LogCaptureFixture, code: str) -> list[Any]:
    found = [cast("Any", record) for record in caplog.records if getattr(record, "code", None) == code]
    return [record for record in found if "response" in record.facts]


# endpoints


def sends(data: bytes, *, close: bool = True) -> Script:
    """Answer every request with these bytes, and close."""

    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(data)
        if close:
            connection.close()
        else:
            await connection.gone()

    return script


async def accepts(connection: UpstreamConnection) -> None:
    """Accept a WebSocket, send a message, and close when the gateway does."""
    await connection.head()
    connection.send(SWITCH + frame(1, b"hello", mask=None))
    await connection.until(lambda: b"\x88" in connection.received.partition(b"\r\n\r\n")[2], "a Close frame")
    connection.close()


async def breaks_off(connection: UpstreamConnection) -> None:
    """Accept a WebSocket, and disconnect."""
    await connection.head()
    connection.send(SWITCH + frame(1, b"hello", mask=None))
    connection.close()


async def violates(connection: UpstreamConnection) -> None:
    """Accept a WebSocket, and send a frame that no service may send."""
    await connection.head()
    connection.send(SWITCH + frame(1, b"hello"))
    await connection.gone()


# clients


def sending(data: bytes, *, then: Callable[[RawClient], object] | None = None, after: bytes = b"") -> Ask:
    """Send bytes; wait for `after`, then do something, or wait for the end."""

    async def ask(client: RawClient) -> None:
        await client.send_all(data)
        if after:
            await client.read_until(after)
        if then is not None:
            then(client)
        else:
            await client.until_closed()

    return ask


def get(path: bytes = b"/users/7?token=s3cret") -> bytes:
    return request_bytes(path, b"connection: close")


UPLOAD = b"POST /up HTTP/1.1\r\nhost: a.example\r\ncontent-length: 100\r\n\r\nhalf"
WEBSOCKET = handshake("/socket")


def refuses(x: Exchange) -> None:
    raise GatewayError("request.body_too_large")


def breaks(x: Exchange) -> None:
    raise ValueError("no\nWARNING forged")


class Own:
    """Answers failures itself."""

    def on_error(self, x: Exchange, error: GatewayError) -> Response:
        return Response(203, body=b"mine")


class RefusesMessages:
    def on_message(self, x: Exchange, direction: str, message: Message) -> None:
        raise GatewayError("request.body_too_large")


def policy(name: str, **settings: Any) -> PolicyEntry:
    return PolicyEntry.named(name, settings)


@dataclass(frozen=True, kw_only=True)
class End:
    """One way in which an exchange ends.

    `status` and `response` are what the client saw.
    """

    code: str
    status: int | None
    response: str
    script: Script = field(default_factory=lambda: answer(ok()))
    ask: Ask = field(default_factory=lambda: sending(get()))
    keys: dict[str, Any] = field(default_factory=dict)
    close: int | None = None
    path: str | None = "/users/7"
    method: str = "GET"


def total(seconds: str) -> dict[str, Any]:
    return {"policies": [policy("timeout", response=seconds, idle=seconds)]}


def after(**settings: Any) -> dict[str, Any]:
    return {"policies": [policy("websocket", **settings)]}


ENDS = {
    # the service
    "cut off": End(
        code="relay.truncated",
        status=200,
        response="cut",
        script=sends(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"),
    ),
    "bad chunk together with the head": End(
        code="relay.bad_chunk",
        status=502,
        response="error",
        script=sends(b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
    ),
    "silent in its body": End(
        code="relay.idle_timeout",
        status=200,
        response="cut",
        script=sends(PARTIAL, close=False),
        keys=total("150ms"),
    ),
    "silent before its head": End(
        code="head.timeout", status=504, response="error", script=sends(b"", close=False), keys=total("150ms")
    ),
    "no answer": End(code="attempt.closed", status=502, response="error", script=sends(b"")),
    "no HTTP": End(code="head.bad", status=502, response="error", script=sends(b"SSH-2.0-OpenSSH\r\n\r\n")),
    "answered by a policy": End(
        code="attempt.closed", status=203, response="error", script=sends(b""), keys={"policies": [Own()]}
    ),
    # event streams
    "stream cut off": End(
        code="relay.truncated",
        status=200,
        response="cut",
        script=sends(STREAM.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n9\r\n", 1) + b"\r\n"),
    ),
    "stream with an error event": End(
        code="relay.truncated",
        status=200,
        response="event",
        script=sends(STREAM.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n9\r\n", 1) + b"\r\n"),
        keys={"policies": [policy("sse", error_event=True)]},
    ),
    # the client
    "left before the head": End(
        code="relay.client_gone",
        status=None,
        response="none",
        script=sends(b"", close=False),
        ask=sending(get(), then=RawClient.reset),
    ),
    "left in the body": End(
        code="relay.client_gone",
        status=200,
        response="cut",
        script=sends(PARTIAL, close=False),
        ask=sending(get(), after=b"abc", then=RawClient.reset),
    ),
    "half an upload": End(
        code="read.unexpected_eof",
        status=400,
        response="error",
        method="POST",
        path="/up",
        ask=sending(UPLOAD, then=RawClient.half_close),
    ),
    "half an upload after an early response": End(
        code="read.unexpected_eof",
        status=200,
        response="cut",
        method="POST",
        path="/up",
        script=sends(PARTIAL, close=False),
        ask=sending(UPLOAD, after=b"abc", then=RawClient.half_close),
    ),
    "late upload": End(
        code="read.body_timeout",
        status=408,
        response="error",
        method="POST",
        path="/up",
        ask=sending(UPLOAD),
        keys={"timeouts": {"body": "150ms"}},
    ),
    "late head": End(
        code="read.head_timeout",
        status=408,
        response="error",
        ask=sending(b"GET /users/7?token=s3cret HTTP/1.1\r\nhost:"),
        keys={"timeouts": {"header": "150ms"}},
    ),
    # refused
    "bad field": End(
        code="read.bad_field",
        status=400,
        response="error",
        ask=sending(b"GET /users/7?t=s3cret HTTP/1.1\r\na b: c\r\n\r\n"),
    ),
    "bad target": End(code="read.bad_target", status=400, response="error", ask=sending(get(b"/a%00")), path="/a%00"),
    "long line": End(
        code="read.line_too_long",
        status=414,
        response="error",
        ask=sending(get(b"/" + b"a" * 9000)),
        path="/" + "a" * 299 + "…",
    ),
    "large head": End(
        code="read.head_too_large",
        status=431,
        response="error",
        ask=sending(request_bytes(b"/users/7", b"a: " + b"b" * 40_000)),
    ),
    "large body": End(
        code="request.body_too_large",
        status=413,
        response="error",
        method="POST",
        path="/up",
        ask=sending(UPLOAD),
        keys={"policies": [policy("body_limit", max="10B")]},
    ),
    "no route": End(
        code="match.no_route", status=404, response="error", ask=sending(get()), keys={"route": {"path": "/elsewhere"}}
    ),
    "method": End(
        code="match.method", status=405, response="error", ask=sending(get()), keys={"route": {"methods": ["PUT"]}}
    ),
    "policy refuses": End(code="request.body_too_large", status=413, response="error", keys={"policies": [refuses]}),
    "policy raises": End(code="request.policy_failed", status=500, response="error", keys={"policies": [breaks]}),
    # WebSockets
    "WebSocket refused": End(
        code="upgrade.refused",
        status=403,
        response="error",
        path="/socket",
        ask=sending(WEBSOCKET, after=b"upgrade.refused", then=RawClient.close),
        keys={"route": {"websocket": "refuse"}},
    ),
    "WebSocket of a broken client": End(
        code="tunnel.client_broke",
        status=101,
        response="closed",
        close=1002,
        path="/socket",
        script=accepts,
        ask=sending(WEBSOCKET + frame(1, b"x", mask=None), after=b"not masked", then=RawClient.close),
    ),
    "WebSocket of a broken endpoint": End(
        code="tunnel.endpoint_broke",
        status=101,
        response="closed",
        close=1011,
        path="/socket",
        script=violates,
        ask=sending(WEBSOCKET, after=b"upstream_error", then=RawClient.close),
    ),
    "WebSocket whose endpoint leaves": End(
        code="tunnel.endpoint_lost",
        status=101,
        response="closed",
        close=1011,
        path="/socket",
        script=breaks_off,
        ask=sending(WEBSOCKET, after=b"upstream_error", then=RawClient.close),
    ),
    "WebSocket whose client leaves": End(
        code="tunnel.client_lost",
        status=101,
        response="cut",
        path="/socket",
        script=accepts,
        ask=sending(WEBSOCKET, after=b"hello", then=RawClient.reset),
    ),
    "WebSocket refused a message": End(
        code="request.body_too_large",
        status=101,
        response="closed",
        close=1008,
        path="/socket",
        script=accepts,
        ask=sending(WEBSOCKET + frame(1, b"x"), after=b"body_too_large", then=RawClient.close),
        keys={"policies": [RefusesMessages()]},
    ),
    "WebSocket of a great age": End(
        code="",
        status=101,
        response="closed",
        close=1001,
        path="/socket",
        script=accepts,
        ask=sending(WEBSOCKET, after=b"max_age", then=RawClient.close),
        keys=after(max_age="150ms"),
    ),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_the_line_says_what_the_client_saw(end: End, front: Fronts, caplog: pytest.LogCaptureFixture) -> None:
    f = await front(end.script, **end.keys)
    f.upstream.tolerant = True  # to it, frames of a WebSocket are no requests
    client = await f.client()
    await end.ask(client)
    await until(lambda: bool(lines(caplog, end.code)))
    (record,) = lines(caplog, end.code)
    facts = record.facts
    assert (facts["status"], facts["response"], facts.get("close")) == (end.status, end.response, end.close)
    assert (facts["method"], facts["path"], facts["client"]) == (end.method, end.path, "127.0.0.1")
    assert [name for name in facts if name in FACTS] == list(FACTS)
    assert "s3cret" not in caplog.text
    assert "\n" not in record.getMessage()


async def test_an_exchange_that_succeeds_is_not_in_the_log(front: Fronts, caplog: pytest.LogCaptureFixture) -> None:
    f = await front(answer(ok()))
    client = await f.client()
    assert (await client.ask(request_bytes(b"/x"))).status == 200
    await client.send_all(WEBSOCKET)  # answered with 200: no WebSocket, and no failure
    await client.reply()
    assert [record for record in caplog.records if hasattr(record, "facts")] == []


# several tries


async def test_each_retry_is_told_at_debug_and_the_failure_has_all_tries(
    front: Fronts, caplog: pytest.LogCaptureFixture
) -> None:
    dead = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.service("many", dead, balance="round_robin", retry={"attempts": 2})
    gateway.route("/*", service="many")
    client = await front.client(await front.start(gateway))
    assert (await client.ask(request_bytes(b"/x"))).status == 503
    retry = next(record for record in caplog.records if record.getMessage().startswith("another try in 0 ms"))
    assert retry.levelno == logging.DEBUG
    assert f"{dead[0]} failed: connect.refused" in retry.getMessage()
    (record,) = lines(caplog, "connect.refused")
    assert record.facts["tries"] == f"{dead[0]} connect.refused, {dead[1]} connect.refused"
    assert record.facts["endpoint"] == dead[1]


async def test_a_fallback_that_fails_too_is_told_with_its_own_service(
    front: Fronts, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.service("one", [f"http://127.0.0.1:{free_port()}"])
    gateway.service("two", [{"url": "http://127.0.0.1:1", "weight": 0}])
    gateway.route("/*", service="one", fallback={"service": "two"})
    client = await front.client(await front.start(gateway))
    assert (await client.ask(request_bytes(b"/x"))).status == 503
    assert any(
        record.getMessage().startswith("the fallback is used: connect.refused detail=") for record in caplog.records
    )
    (record,) = lines(caplog, "choose.no_endpoint")
    assert (record.facts["service"], record.facts["endpoint"]) == ("two", None)


async def test_a_hedge_is_told_and_a_failure_of_both_names_both(
    front: Fronts, caplog: pytest.LogCaptureFixture
) -> None:
    slow = [(await front.upstream(sends(b"", close=False))).url for _ in range(2)]
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    gateway.service("many", slow, balance="round_robin", hedge={"delay": "20ms"}, retry={"attempts": 1})
    gateway.route("/*", service="many", policies=[policy("timeout", response="200ms")])
    client = await front.client(await front.start(gateway))
    assert (await client.ask(request_bytes(b"/x"))).status == 504
    assert any(f"{slow[1]} is asked too" in record.getMessage() for record in caplog.records)
    (record,) = lines(caplog, "head.timeout")
    assert record.facts["tries"] == f"{slow[0]} head.timeout, {slow[1]} head.timeout"


# policies


async def test_a_policy_that_blocks_and_then_raises_is_named_for_both(
    front: Fronts, caplog: pytest.LogCaptureFixture
) -> None:
    def blocks(x: Exchange) -> None:
        time.sleep(0.15)
        raise ValueError("no")

    f = await front(policies=[blocks])
    client = await f.client()
    assert (await client.ask(request_bytes(b"/x"))).status == 500
    told = [record.getMessage() for record in caplog.records if record.name == "propylon.policies"]
    name = f"{__name__}:{blocks.__qualname__}"
    assert [line.partition(" for ")[0].partition(" status")[0] for line in told] == [
        f"policy {name} blocked the event loop", f"policy {name} raised ValueError"
    ]  # fmt: skip
    assert all("path=/x client=127.0.0.1" in line for line in told)


# floods


async def test_a_flood_is_bounded_and_counted(front: Fronts, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "propylon")
    f = await front(route={"path": "/elsewhere"})
    client = await f.client()
    await client.send_all(request_bytes(b"/x") * 50)
    for _ in range(50):
        assert (await client.reply()).status == 404
    assert len(lines(caplog, "match.no_route")) == 10
    await f.gateway.stop()
    assert caplog.messages.count("match.no_route: 40 more within 10 s, which are not shown") == 1


async def test_websockets_that_are_drained_are_told(front: Fronts, caplog: pytest.LogCaptureFixture) -> None:
    f = await front(accepts)
    f.upstream.tolerant = True
    client = await f.client()
    await client.send_all(WEBSOCKET)
    await client.read_until(b"hello")
    stopping = asyncio.create_task(f.gateway.stop())
    await client.read_until(b"going_away")
    await client.send_all(close_frame(1001))
    await stopping
    assert any("closed by the gateway" in line and "reason=going_away" in line for line in caplog.messages)
