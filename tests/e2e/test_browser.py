"""What a real browser makes of WebSockets and event streams that come through the gateway, with and without TLS."""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from propylon import Gateway
from tests.outbound.conftest import make_ca, make_leaf
from tests.support.browser import Browser, Tab
from tests.support.deadline import within
from tests.support.example import example
from tests.support.ports import free_port
from tests.support.upstream import ScriptedUpstream, UpstreamConnection, ok

PAGE = b"<!doctype html><title>page</title>"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
SCHEMES = pytest.mark.parametrize("scheme", ["http", "https"])

OPEN = """
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws`, %s);
    socket.binaryType = "arraybuffer";
    const next = (what) => new Promise((done) => socket.addEventListener(what, done, { once: true }));
"""
CLOSED = "const { code, reason, wasClean } = await next('close'); return { code, reason, wasClean };"
OPENED = "return new Promise((done) => { socket.onopen = () => done('open'); socket.onclose = () => done('closed') });"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.end()


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("identity")
    make_ca(folder, "ca")
    certificate, key = make_leaf(folder, "local", "subjectAltName=IP:127.0.0.1")
    return {"certificate": certificate, "key": key}


class Streams:
    """A service of pages and event streams; a test sends the events."""

    def __init__(self) -> None:
        self.last_ids: list[str | None] = []
        self.open: list[UpstreamConnection] = []
        self._opened = asyncio.Event()

    async def __call__(self, connection: UpstreamConnection) -> None:
        """Answer with a page, or begin a stream."""
        while True:
            request = await connection.request()
            if request.target != b"/events":
                connection.send(ok(PAGE, b"content-type: text/html"))
                continue
            self.last_ids.append(request.header("last-event-id"))
            self.open.append(connection)
            connection.send(STREAM)
            self._opened.set()

    async def stream(self, number: int) -> UpstreamConnection:
        """The stream with this number, once a browser has asked for it."""
        async with within(8, f"the browser asks for stream {number}"):
            while len(self.open) <= number:
                self._opened.clear()
                await self._opened.wait()
        return self.open[number]


def chunk(data: str) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data.encode()), data.encode())


class Site:
    """A gateway in front of a service of WebSockets at /ws and one of pages and streams."""

    def __init__(self, gateway: Gateway, streams: Streams) -> None:
        self.streams = streams
        self.url = gateway.url


async def echo(connection: ServerConnection) -> None:
    """Send back what comes; `close CODE REASON` closes so."""
    async for message in connection:
        if isinstance(message, str) and message.startswith("close "):
            _, code, reason = message.split(" ", 2)
            await connection.close(int(code), reason)
            return
        await connection.send(message)


@asynccontextmanager
async def site(
    handler: Any = echo, *, policies: Any = (), identity: dict[str, str] | None = None, **server: Any
) -> AsyncIterator[Site]:
    streams = Streams()
    async with ScriptedUpstream(streams) as pages, serve(handler, "127.0.0.1", 0, **server) as sockets:
        listen = "127.0.0.1:0" if identity is None else {"address": "127.0.0.1:0", "tls": identity}
        gateway = Gateway(listen=listen, timeouts={"drain": "500ms"})
        port = sockets.sockets[0].getsockname()[1]
        gateway.route("/ws", target=f"http://127.0.0.1:{port}", policies=list(policies))
        gateway.route("/*", target=pages.url, policies=[{"sse": {"error_event": True}}])
        async with gateway:
            yield Site(gateway, streams)


Page = Callable[..., AbstractAsyncContextManager[tuple[Site, Tab]]]


@pytest.fixture
def page(browser: Browser, identity: dict[str, str]) -> Page:
    """Makes sites, with a tab that shows a page of theirs."""

    @asynccontextmanager
    async def make(scheme: str = "http", **options: Any) -> AsyncIterator[tuple[Site, Tab]]:
        options["identity"] = identity if scheme == "https" else None
        async with site(**options) as there, browser.tab(there.url) as tab:
            assert await tab.run("return [document.title, location.protocol]") == ["page", f"{scheme}:"]
            yield there, tab

    return make


# WebSockets


@SCHEMES
async def test_messages_pass_as_they_are(page: Page, scheme: str) -> None:
    async with page(scheme) as (_, tab):
        script = """
            await next("open");
            const received = [];
            for (const text of ["", "short", "ü😀".repeat(30000)]) {
                socket.send(text);
                received.push((await next("message")).data === text);
            }
            for (const size of [0, 1, 70000, 900000]) {
                const bytes = new Uint8Array(size).map((_, at) => at * 7 + (at >> 8));
                socket.send(bytes);
                const { data } = await next("message");
                const back = new Uint8Array(data);
                received.push(back.length === size && back.every((byte, at) => byte === bytes[at]));
            }
            socket.close();
            return [received, socket.protocol, socket.extensions];
        """
        received, protocol, extensions = await tab.run(OPEN % "[]" + script)
        assert received == [True] * 7
        assert protocol == ""
        assert extensions.startswith("permessage-deflate")


@SCHEMES
async def test_the_subprotocol_is_the_services_choice(page: Page, scheme: str) -> None:
    async with page(scheme, subprotocols=["two"]) as (_, tab):
        assert await tab.run(OPEN % "['one', 'two']" + "await next('open'); return socket.protocol;") == "two"


@SCHEMES
@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (1008, "därum"), (1011, "x" * 123)])
async def test_the_services_close_reaches_the_page(page: Page, scheme: str, code: int, reason: str) -> None:
    async with page(scheme) as (_, tab):
        ended = await tab.run(OPEN % "[]" + f"await next('open'); socket.send('close {code} {reason}');" + CLOSED)
        assert ended == {"code": code, "reason": reason, "wasClean": True}


@SCHEMES
async def test_the_pages_close_reaches_the_service(page: Page, scheme: str) -> None:
    seen: asyncio.Queue[tuple[int | None, str | None]] = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()
        seen.put_nowait((connection.close_code, connection.close_reason))

    async with page(scheme, handler=handler) as (_, tab):
        ended = await tab.run(OPEN % "[]" + "await next('open'); socket.close(3456, 'genug');" + CLOSED)
        assert ended == {"code": 3456, "reason": "genug", "wasClean": True}
        await tab.run(OPEN % "[]" + "await next('open'); socket.close();")
        async with within(3, "the service sees both"):
            assert [await seen.get(), await seen.get()] == [(3456, "genug"), (1005, "")]


async def test_a_page_that_is_left_is_told_of(page: Page) -> None:
    seen: asyncio.Queue[int | None] = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()
        seen.put_nowait(connection.close_code)

    async with page(handler=handler) as (_, tab):
        await tab.run(OPEN % "[]" + "await next('open');")
        await tab.open("about:blank")
        async with within(3, "the service is told"):
            assert await seen.get() == 1001


async def test_a_service_that_dies_is_1011(page: Page) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.abort()

    async with page(handler=handler) as (_, tab):
        ended = await tab.run(OPEN % "[]" + "await next('open'); socket.send('die');" + CLOSED)
        assert ended == {"code": 1011, "reason": "upstream_error", "wasClean": True}


async def test_an_old_one_and_a_large_message_say_why(page: Page) -> None:
    policies = [{"websocket": {"max_age": "1500ms", "max_message": "1000"}}]
    async with page(policies=policies, compression=None) as (_, tab):
        ended = await tab.run(OPEN % "[]" + "await next('open'); socket.send('x'.repeat(1001));" + CLOSED)
        assert ended == {"code": 1009, "reason": "message_too_big", "wasClean": True}
        ended = await tab.run(OPEN % "[]" + "await next('open');" + CLOSED)
        assert ended == {"code": 1001, "reason": "max_age", "wasClean": True}


@SCHEMES
async def test_a_page_of_another_origin_is_refused(page: Page, scheme: str) -> None:
    seen: list[ServerConnection] = []

    async def handler(connection: ServerConnection) -> None:
        seen.append(connection)
        await connection.wait_closed()

    policies = [{"websocket": {"origins": ["https://app.example"]}}]
    async with page(scheme, handler=handler, policies=policies) as (_, tab):
        script = "let opened = false; socket.onopen = () => { opened = true }; const { code } = await next('close');"
        assert await tab.run(OPEN % "[]" + script + "return [opened, code];") == [False, 1006]
        assert seen == []


async def test_a_page_of_an_allowed_origin_is_let_in(browser: Browser) -> None:
    async with serve(echo, "127.0.0.1", 0) as sockets, site() as there:
        gateway = Gateway(listen="127.0.0.1:0")
        target = f"http://127.0.0.1:{sockets.sockets[0].getsockname()[1]}"
        gateway.route("/*", target=target, policies=[{"websocket": {"origins": [there.url]}}])
        async with gateway, browser.tab(there.url) as tab:
            script = f"const socket = new WebSocket('ws://127.0.0.1:{gateway.port}/');"
            script += "await new Promise((done, failed) => { socket.onopen = done; socket.onerror = failed });"
            assert await tab.run(script + "return socket.readyState") == 1


async def test_a_handshake_that_the_service_refuses_fails(page: Page) -> None:
    async def refuse(connection: ServerConnection, request: Any) -> Any:
        return connection.respond(401, "who are you?")

    async with page(process_request=refuse) as (_, tab):
        ended = await tab.run(OPEN % "[]" + "const { code, wasClean } = await next('close'); return [code, wasClean];")
        assert ended == [1006, False]


# event streams

LISTEN = """
    const seen = window.seen = [], source = window.source = new EventSource("/events");
    source.onmessage = ({ data, lastEventId }) => seen.push(["message", data, lastEventId]);
    source.addEventListener("tick", ({ data, lastEventId }) => seen.push(["tick", data, lastEventId]));
    source.addEventListener("error", ({ data }) => seen.push(["error", data ?? null, source.readyState]));
"""
SEEN = "while (seen.length < %d) await new Promise((done) => setTimeout(done, 5)); return seen;"


@SCHEMES
async def test_events_arrive_one_by_one(page: Page, scheme: str) -> None:
    async with page(scheme) as (there, tab):
        await tab.run(LISTEN)
        stream = await there.streams.stream(0)
        expected: list[list[str]] = []
        for number in range(3):
            stream.send(chunk(f"id: {number}\nevent: tick\ndata: größe {number}\n\n"))
            expected.append(["tick", f"größe {number}", str(number)])
            assert await tab.run(SEEN % (number + 1)) == expected
        stream.send(chunk(": nothing\n\ndata: two\ndata: li"))
        stream.send(chunk("nes\n\n"))
        assert (await tab.run(SEEN % 4))[-1] == ["message", "two\nlines", "2"]
        await tab.run("source.close()")
        await stream.gone(2)


@SCHEMES
async def test_a_stream_goes_on_behind_the_last_event(page: Page, scheme: str) -> None:
    async with page(scheme) as (there, tab):
        await tab.run(LISTEN)
        first = await there.streams.stream(0)
        first.send(chunk("retry: 50\n\nid: seven\ndata: a\n\n") + b"0\r\n\r\n")
        second = await there.streams.stream(1)
        assert there.streams.last_ids == [None, "seven"]
        second.send(chunk("data: b\n\n"))
        assert await tab.run(SEEN % 3) == [["message", "a", "seven"], ["error", None, 0], ["message", "b", "seven"]]


async def test_a_service_that_dies_is_an_error_event(page: Page) -> None:
    async with page() as (there, tab):
        await tab.run(LISTEN)
        first = await there.streams.stream(0)
        first.send(chunk("retry: 50\nid: 1\ndata: whole\n\ndata: ha"))
        await tab.run(SEEN % 1)
        first.reset()
        await there.streams.stream(1)
        seen = await tab.run(SEEN % 3)
        assert seen[0] == ["message", "whole", "1"]
        assert seen[1][0] == "error"
        assert '"code":"relay.truncated"' in seen[1][1]
        assert seen[2] == ["error", None, 0]
        assert there.streams.last_ids == [None, "1"]


async def test_a_page_that_is_left_ends_its_stream(page: Page) -> None:
    async with page() as (there, tab):
        await tab.run(LISTEN)
        stream = await there.streams.stream(0)
        await tab.open("about:blank")
        await stream.gone(2)


# the examples

CHAT = """
    const say = (text) => { input.value = text; form.requestSubmit() };
    const until = async (what) => { while (!what()) await new Promise((done) => setTimeout(done, 5)) };
    const lines = () => [...room.children].map((line) => line.textContent);
"""


async def test_two_pages_chat(browser: Browser) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with (
        example("chat", LISTEN=address, ORIGIN=f"http://{address}") as chat,
        browser.tab(f"http://{address}/") as ada,
    ):
        await ada.run(CHAT + "say('Ada'); await until(() => lines().length === 1);")
        async with browser.tab(f"http://{address}/") as bob:
            await bob.run(CHAT + "say('Bob'); await until(() => lines().length === 1); say('<i>hello</i>');")
            for tab in (ada, bob):
                await tab.run(CHAT + "await until(() => lines().includes('Bob: <i>hello</i>'));")
        heard = await ada.run(CHAT + "await until(() => lines().length === 4); return lines();")
        assert heard == ["Ada has come.", "Bob has come.", "Bob: <i>hello</i>", "Bob has gone."]
        chat.gateway.signal(signal.SIGTERM)
        await ada.run(CHAT + "await until(() => state.textContent.includes('(1001: going_away)'));")


async def test_a_page_elsewhere_cannot_join_the_chat(page: Page) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with example("chat", LISTEN=address, ORIGIN=f"http://{address}"), page() as (_, tab):
        assert await tab.run(f"const socket = new WebSocket('ws://{address}/room');" + OPENED) == "closed"


async def test_the_ticker_shows_its_prices(browser: Browser) -> None:
    async with example("ticker", EVERY="0.05") as ticker, browser.tab(f"http://{ticker.address}/") as tab:
        shown = "() => Number(state.textContent.replace('event ', '')) > 2"
        number, price = await tab.run(CHAT + f"await until({shown}); return [state.textContent, price.textContent]")
        assert price == f"{100 + 5 * math.sin(int(number.removeprefix('event ')) / 5):.2f}"
