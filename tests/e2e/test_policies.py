"""Policies in Python: every phase, `def` and `async def`, what they may change, and what happens when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from propylon import Exchange, Gateway, Response
from tests.conftest import BOTH_LOOPS
from tests.support.checks import assert_problem
from tests.support.client import ConnectionEnded, request_bytes
from tests.support.front import Fronts
from tests.support.upstream import UpstreamConnection, answer, chunked, ok


class Recorder:
    """Writes down every phase it is called in."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.ended = asyncio.Event()

    def on_request(self, x: Exchange) -> None:
        self.calls.append("on_request")

    def on_attempt(self, x: Exchange, attempt: Any) -> None:
        self.calls.append("on_attempt")

    def on_response(self, x: Exchange) -> None:
        assert x.response is not None
        self.calls.append(f"on_response {x.response.status}")

    def on_error(self, x: Exchange, error: Exception) -> None:
        self.calls.append("on_error")

    def on_done(self, x: Exchange) -> None:
        self.calls.append(f"on_done {x.status}")
        self.ended.set()


class AsyncRecorder(Recorder):
    """The same with coroutines, each of which really waits."""

    async def on_request(self, x: Exchange) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().on_request(x)

    async def on_attempt(self, x: Exchange, attempt: Any) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().on_attempt(x, attempt)

    async def on_response(self, x: Exchange) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().on_response(x)

    async def on_error(self, x: Exchange, error: Exception) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().on_error(x, error)

    async def on_done(self, x: Exchange) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().on_done(x)


BOTH_KINDS = pytest.mark.parametrize("kind", [Recorder, AsyncRecorder], ids=["def", "async def"])


@BOTH_LOOPS
@BOTH_KINDS
async def test_every_phase_runs_in_order_and_done_once(front: Fronts, kind: type[Recorder]) -> None:
    recorder = kind()
    f = await front(policies=[recorder])
    client = await f.client()
    assert (await client.ask(request_bytes())).status == 200
    await recorder.ended.wait()
    assert recorder.calls == ["on_request", "on_attempt", "on_response 200", "on_done 200"]


@BOTH_KINDS
async def test_a_failure_of_the_gateway_runs_on_error_and_done_once(front: Fronts, kind: type[Recorder]) -> None:
    recorder = kind()
    upstream = await front.upstream()
    upstream.stop_listening()
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.route("/*", target=upstream.url, policies=[recorder])
    client = await front.client(await front.start(gateway))
    assert (await client.ask(request_bytes())).status == 503
    await recorder.ended.wait()
    # The answer that is made of the failure passes on_response like every other, so that headers can be added to it.
    calls = [call for call in recorder.calls if call not in ("on_attempt", "on_response 503")]
    assert calls == ["on_request", "on_error", "on_done 503"]


@BOTH_KINDS
async def test_a_client_that_goes_away_runs_done_once(front: Fronts, kind: type[Recorder]) -> None:
    async def silent(connection: UpstreamConnection) -> None:
        await connection.request()

    recorder = kind()
    f = await front(silent, policies=[recorder])
    client = await f.client()
    await client.send(request_bytes())
    await f.upstream.until(lambda: bool(f.upstream.requests), "the request")
    client.reset()
    await f.upstream.connections[0].gone()
    async with asyncio.timeout(2):
        await recorder.ended.wait()
    assert len([call for call in recorder.calls if call.startswith("on_done")]) == 1


async def test_a_cut_response_runs_done_once(front: Fronts) -> None:
    recorder = Recorder()

    async def cut(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        connection.close()

    f = await front(cut, policies=[recorder])
    client = await f.client()
    try:
        reply = await client.ask(request_bytes())
        assert reply.status == 502
    except ConnectionEnded:
        pass
    async with asyncio.timeout(2):
        await recorder.ended.wait()
    assert len([call for call in recorder.calls if call.startswith("on_done")]) == 1


async def test_policies_run_gateway_first_then_service_then_route_in_list_order(front: Fronts) -> None:
    order: list[str] = []

    def note(name: str) -> Callable[[Exchange], None]:
        return lambda x: order.append(name)

    upstream = await front.upstream()
    gateway = Gateway(listen="127.0.0.1:0", policies=[note("gateway 1"), note("gateway 2")])
    gateway.service("s", endpoints=[upstream.url], policies=[note("service")])
    gateway.route("/*", service="s", policies=[note("route 1"), note("route 2")])
    client = await front.client(await front.start(gateway))
    assert (await client.ask(request_bytes())).status == 200
    assert order == ["gateway 1", "gateway 2", "service", "route 1", "route 2"]


async def refuse_async(x: Exchange) -> Response:
    await asyncio.sleep(0)
    return Response(401, json={"error": "missing key"}, headers={"www-authenticate": "Key"})


def refuse(x: Exchange) -> Response:
    return Response(401, json={"error": "missing key"}, headers={"www-authenticate": "Key"})


@BOTH_LOOPS
@pytest.mark.parametrize("policy", [refuse, refuse_async])
async def test_a_response_of_a_policy_ends_the_way(front: Fronts, policy: object) -> None:
    after: list[str] = []
    f = await front(policies=[policy, lambda x: after.append("ran")])
    client = await f.client()
    for body in (None, b"with a body"):
        reply = await client.ask(request_bytes(method=b"POST" if body else b"GET", body=body))
        assert (reply.status, reply.json()) == (401, {"error": "missing key"})
        assert reply.header("www-authenticate") == "Key"
        assert (reply.header("content-type") or "").startswith("application/json")
    assert after == []
    assert f.upstream.received == b""


async def raise_async(x: Exchange) -> None:
    await asyncio.sleep(0)
    raise KeyError("secret-detail")


def raise_at_once(x: Exchange) -> None:
    raise KeyError("secret-detail")


@pytest.mark.parametrize("policy", [raise_at_once, raise_async], ids=["def", "async def"])
async def test_an_exception_is_500_with_the_request_id_and_nothing_else(front: Fronts, policy: object) -> None:
    f = await front(policies=[policy])
    client = await f.client()
    reply = await client.ask(request_bytes(b"/", b"x-request-id: trace-me-42"))
    assert assert_problem(reply, 500) == "request.policy_failed"
    assert reply.json()["request_id"] == "trace-me-42"
    assert b"secret" not in reply.body
    assert f.upstream.received == b""
    assert (await client.ask(request_bytes())).status == 500, "the connection and the gateway live on"


PHASES = ["on_attempt", "on_response"]


@pytest.mark.parametrize("phase", PHASES)
async def test_an_exception_in_a_later_phase_is_500_too(front: Fronts, phase: str) -> None:
    class Bad:
        pass

    def explode(self: object, x: Exchange, *rest: object) -> None:
        raise KeyError("secret-detail")

    setattr(Bad, phase, explode)
    f = await front(policies=[Bad()])
    client = await f.client()
    reply = await client.ask(request_bytes())
    assert_problem(reply, 500)
    assert b"secret" not in reply.body
    assert (await client.ask(request_bytes())).status == 500


@pytest.mark.parametrize("phase", ["on_error", "on_done"])
async def test_an_exception_in_the_last_phases_changes_nothing_for_the_client(front: Fronts, phase: str) -> None:
    class Bad:
        pass

    def explode(self: object, x: Exchange, *rest: object) -> None:
        raise KeyError("secret-detail")

    setattr(Bad, phase, explode)
    f = await front(policies=[Bad()], route={"path": "/ok"})
    client = await f.client()
    assert (await client.ask(request_bytes(b"/ok"))).status == 200
    assert (await client.ask(request_bytes(b"/ok"))).status == 200


async def test_on_error_may_answer_instead(front: Fronts) -> None:
    class Sorry:
        async def on_error(self, x: Exchange, error: Exception) -> Response:
            return Response(200, json={"sorry": True})

    upstream = await front.upstream()
    upstream.stop_listening()
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.route("/*", target=upstream.url, policies=[Sorry()])
    client = await front.client(await front.start(gateway))
    reply = await client.ask(request_bytes())
    assert (reply.status, reply.json()) == (200, {"sorry": True})


async def test_a_policy_changes_method_path_query_and_headers(front: Fronts) -> None:
    def change(x: Exchange) -> None:
        assert (x.request.method, x.request.path, x.request.query) == ("GET", "/a%20b", "x=1")
        x.request.method = "POST"
        x.request.path = "/changed"
        x.request.query = "y=2"
        x.request.headers.set("x-set", "1")
        x.request.headers.add("x-many", "2")
        x.request.headers.remove("x-gone")

    f = await front(policies=[change])
    client = await f.client()
    await client.ask(request_bytes(b"/a%20b?x=1", b"x-gone: 1", b"x-many: 1"))
    (request,) = f.upstream.requests
    assert (request.method, request.target) == (b"POST", b"/changed?y=2")
    assert request.header("x-set") == "1"
    assert request.all("x-many") == [b"1", b"2"]
    assert request.all("x-gone") == []


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\0b"])
async def test_a_policy_cannot_split_a_message_by_a_header(front: Fronts, value: str) -> None:
    def request_side(x: Exchange) -> None:
        x.request.headers.set("x-a", value)

    class ResponseSide:
        def on_response(self, x: Exchange) -> None:
            assert x.response is not None
            x.response.headers.set("x-a", value)

    for policy in (request_side, ResponseSide()):
        f = await front(policies=[policy])
        client = await f.client()
        reply = await client.ask(request_bytes())
        assert reply.status == 500
        assert reply.all("x-evil") == []
        assert b"x-evil" not in f.upstream.received


@pytest.mark.parametrize("name", ["content-length", "transfer-encoding", "connection"])
async def test_a_policy_cannot_break_the_framing(front: Fronts, name: str) -> None:
    class Meddler:
        def on_request(self, x: Exchange) -> None:
            x.request.headers.set(name, "7")

        def on_response(self, x: Exchange) -> None:
            assert x.response is not None
            x.response.headers.set(name, "7")

    f = await front(answer(ok(b"hello")), policies=[Meddler()])
    client = await f.client()
    reply = await client.ask(request_bytes(method=b"POST", body=b"body"))
    assert reply.status in (200, 500)
    if reply.status == 200:
        assert bytes(reply.body) == b"hello"
        assert bytes(f.upstream.requests[0].body) == b"body"
    assert (await client.ask(request_bytes())).status == reply.status


@BOTH_LOOPS
@pytest.mark.parametrize("framing", ["length", "chunked", "in pieces"])
async def test_a_policy_reads_the_body_and_the_service_still_gets_it(front: Fronts, framing: str) -> None:
    seen: list[bytes] = []

    async def read(x: Exchange) -> None:
        seen.append(await x.request.body())

    f = await front(policies=[read])
    client = await f.client()
    if framing == "length":
        await client.send(request_bytes(method=b"POST", body=b"hello"))
    else:
        raw = (
            b"POST / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
        )
        await client.send(raw, cuts=range(60, len(raw)) if framing == "in pieces" else ())
    assert (await client.reply("POST")).status == 200
    assert seen == [b"hello"]
    assert bytes(f.upstream.requests[0].body) == b"hello"


async def test_reading_a_body_beyond_its_limit_is_413(front: Fronts) -> None:
    async def read(x: Exchange) -> None:
        await x.request.body(limit=4)

    f = await front(policies=[read])
    client = await f.client()
    reply = await client.ask(request_bytes(method=b"POST", body=b"hello"))
    assert_problem(reply, 413)
    assert f.upstream.received == b""


async def test_a_policy_replaces_both_bodies(front: Fronts) -> None:
    class Replace:
        def on_request(self, x: Exchange) -> None:
            x.request.replace_body(b"new request")

        async def on_response(self, x: Exchange) -> None:
            assert x.response is not None
            x.response.replace_body((await x.response.body()).upper())

    f = await front(answer(chunked(b"hel", b"lo")), policies=[Replace()])
    client = await f.client()
    for method, body in ((b"POST", b"old"), (b"GET", None), (b"PUT", b"x" * 100_000)):
        reply = await client.ask(request_bytes(method=method, body=body))
        assert bytes(reply.body) == b"HELLO"
    assert [bytes(request.body) for request in f.upstream.requests] == [b"new request"] * 3


async def test_a_policy_changes_status_and_headers_of_a_response(front: Fronts) -> None:
    class Change:
        def on_response(self, x: Exchange) -> None:
            assert x.response is not None
            x.response.status = 202
            x.response.headers.remove("x-inner")
            x.response.headers.set("x-outer", "1")

    f = await front(answer(ok(b"hello", b"x-inner: 1")), policies=[Change()])
    client = await f.client()
    reply = await client.ask(request_bytes())
    assert (reply.status, bytes(reply.body)) == (202, b"hello")
    assert reply.all("x-inner") == []
    assert reply.header("x-outer") == "1"


class Shout:
    """Transforms both streams piece by piece; longer than before, so that no length may survive."""

    def on_request_chunk(self, x: Exchange, data: bytes) -> bytes:
        return data.upper() + b"!" if data else b""

    def on_response_chunk(self, x: Exchange, data: bytes) -> bytes:
        return data.upper() + b"?" if data else b""


class ShoutAsync(Shout):
    """The same with coroutines."""

    async def on_request_chunk(self, x: Exchange, data: bytes) -> bytes:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().on_request_chunk(x, data)

    async def on_response_chunk(self, x: Exchange, data: bytes) -> bytes:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().on_response_chunk(x, data)


@BOTH_LOOPS
@pytest.mark.parametrize("kind", [Shout, ShoutAsync], ids=["def", "async def"])
@pytest.mark.parametrize("raw", [ok(b"hello"), chunked(b"hel", b"lo")], ids=["length", "chunked"])
async def test_streams_are_transformed_and_framed_anew(front: Fronts, kind: type[Shout], raw: bytes) -> None:
    f = await front(answer(raw), policies=[kind()])
    client = await f.client()
    for _ in range(2):
        reply = await client.ask(request_bytes(method=b"POST", body=b"body"))
        assert bytes(reply.body).replace(b"?", b"") == b"HELLO"
        assert b"?" in reply.body
    for request in f.upstream.requests:
        assert bytes(request.body).replace(b"!", b"") == b"BODY"
        assert b"!" in request.body


async def test_a_stream_is_transformed_piece_by_piece_not_at_its_end(front: Fronts) -> None:
    seen = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await seen.wait()
        connection.send(b"6\r\nsecond\r\n0\r\n\r\n")

    f = await front(script, policies=[Shout()])
    client = await f.client()
    await client.send(request_bytes())
    await client.read_until(b"FIRST?")
    seen.set()
    await client.read_until(b"SECOND?")


async def test_on_attempt_gives_credentials_the_other_policies_do_not_see(front: Fronts) -> None:
    class Credentials:
        def on_attempt(self, x: Exchange, attempt: Any) -> None:
            attempt.headers.set("authorization", "Bearer inner")

    f = await front(policies=[Credentials()])
    client = await f.client()
    await client.ask(request_bytes(b"/", b"authorization: Bearer outer"))
    assert f.upstream.requests[0].header("authorization") == "Bearer inner"


async def test_values_and_params_are_shared_between_policies(front: Fronts) -> None:
    seen: list[Any] = []

    def first(x: Exchange) -> None:
        x.state["user"] = "u1"

    def second(x: Exchange) -> None:
        seen.append((x.state["user"], x.params, x.route.name, x.request.client, x.request.host, x.request.scheme))

    f = await front(policies=[first, second], route={"path": "/users/{id}", "name": "one-user"})
    client = await f.client()
    await client.ask(request_bytes(b"/users/a%20b"))
    await client.ask(request_bytes(b"/users/2"))
    assert seen == [
        ("u1", {"id": "a%20b"}, "one-user", "127.0.0.1", "a.example", "http"),
        ("u1", {"id": "2"}, "one-user", "127.0.0.1", "a.example", "http"),
    ]


async def test_an_endpoint_is_chosen_by_a_policy(front: Fronts) -> None:
    first, second = await front.upstream(answer(ok(b"1"))), await front.upstream(answer(ok(b"2")))

    def stick(x: Exchange) -> None:
        x.choose({"1": first.url, "2": second.url}.get(x.request.headers.get("x-to") or "", "http://127.0.0.1:9"))

    gateway = Gateway(listen="127.0.0.1:0")
    gateway.service("both", endpoints=[first.url, second.url])
    gateway.route("/*", service="both", policies=[stick])
    client = await front.client(await front.start(gateway))
    for _ in range(4):
        assert bytes((await client.ask(request_bytes(b"/", b"x-to: 2"))).body) == b"2"
        assert bytes((await client.ask(request_bytes(b"/", b"x-to: 1"))).body) == b"1"
    assert (await client.ask(request_bytes(b"/", b"x-to: elsewhere"))).status == 500


@BOTH_LOOPS
async def test_an_async_policy_is_cancelled_when_its_client_goes_away(front: Fronts) -> None:
    waiting, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(x: Exchange) -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    f = await front(policies=[wait])
    client = await f.client()
    await client.send(request_bytes())
    await waiting.wait()
    client.reset()
    async with asyncio.timeout(1):
        await cancelled.wait()
    assert f.upstream.received == b""


async def test_a_waiting_policy_holds_up_nobody_else(front: Fronts) -> None:
    release = asyncio.Event()

    async def wait(x: Exchange) -> None:
        if x.request.path == "/slow":
            await release.wait()

    f = await front(policies=[wait])
    slow, fast = await f.client(), await f.client()
    await slow.send(request_bytes(b"/slow"))
    for _ in range(10):
        assert (await fast.ask(request_bytes(b"/fast"))).status == 200
    release.set()
    assert (await slow.reply()).status == 200


async def test_asyncio_works_inside_a_policy(front: Fronts) -> None:
    async def gather(x: Exchange) -> Response:
        async with asyncio.timeout(1):
            first, second = await asyncio.gather(asyncio.sleep(0, "a"), asyncio.sleep(0, "b"))
        return Response(200, body=first + second)

    f = await front(policies=[gather])
    client = await f.client()
    assert bytes((await client.ask(request_bytes())).body) == b"ab"


CONDITIONS: list[tuple[dict[str, Any], bytes, bool]] = [
    ({"when": {"methods": ["GET"]}}, request_bytes(b"/a"), True),
    ({"when": {"methods": ["DELETE"]}}, request_bytes(b"/a"), False),
    ({"when": {"paths": ["/a/*"]}}, request_bytes(b"/a/b"), True),
    ({"when": {"paths": ["/b/*"]}}, request_bytes(b"/a/b"), False),
    ({"when": {"headers": {"x-beta": "*"}}}, request_bytes(b"/a", b"X-Beta: 1"), True),
    ({"when": {"headers": {"x-beta": "2"}}}, request_bytes(b"/a", b"x-beta: 1"), False),
    ({"when": {"query": {"debug": "1"}}}, request_bytes(b"/a?debug=1"), True),
    ({"when": {"methods": ["GET"], "paths": ["/b"]}}, request_bytes(b"/a"), False),
    ({"when": [{"methods": ["POST"]}, {"paths": ["/a"]}]}, request_bytes(b"/a"), True),
    ({"unless": {"methods": ["GET"]}}, request_bytes(b"/a"), False),
    ({"unless": {"paths": ["/b"]}}, request_bytes(b"/a"), True),
]


@pytest.mark.parametrize(("condition", "request_", "applies"), CONDITIONS, ids=lambda value: repr(value)[:60])
async def test_when_and_unless(front: Fronts, condition: dict[str, Any], request_: bytes, applies: bool) -> None:
    f = await front(policies=[{"respond": {"status": 418, "body": "short"}} | condition])
    client = await f.client()
    assert (await client.ask(request_)).status == (418 if applies else 200)
