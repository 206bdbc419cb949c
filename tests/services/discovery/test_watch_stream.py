"""Requests and endless streams over HTTP: what comes is read as it comes, and everything has a bound."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from propylon.services.discovery import DiscoveryError
from propylon.services.discovery._http import TlsConfig
from propylon.services.discovery._watch_stream import JsonStream, RefusedError, WatchSession
from tests.support.web import served


async def answer(request: web.Request, go_on: asyncio.Event | None = None) -> web.StreamResponse:
    if request.path == "/gone":
        return web.json_response({"message": "too old"}, status=410)
    if request.path == "/echo":
        assert request.method == "POST"
        return web.json_response({"got": await request.json(), "key": request.headers["x-key"], **request.query})
    if request.path == "/text":
        return web.Response(text="hello")
    if request.path == "/elsewhere":
        raise web.HTTPFound("/echo")
    response = web.StreamResponse()
    await response.prepare(request)
    if request.path == "/half":
        await response.write(b'{"a": 1}{"b"')
        return response
    await response.write(b'{"a": 1}\n{"b"')
    assert go_on is not None
    await go_on.wait()
    await response.write(b': 2}{"c": 3}')
    return response


def session(base: str) -> WatchSession:
    return WatchSession(base, TlsConfig(), {}, None)


async def test_a_stream_is_read_as_it_comes_and_its_end_is_told() -> None:
    go_on = asyncio.Event()

    async def answered(request: web.Request) -> web.StreamResponse:
        return await answer(request, go_on)

    async with served(answered) as base, session(base) as asking, asking.ask("/") as response:
        stream = JsonStream(response)
        assert await stream.next(3) == {"a": 1}
        with pytest.raises(TimeoutError):
            await stream.next(0.02)
        go_on.set()
        assert [await stream.next(3) for _ in range(3)] == [{"b": 2}, {"c": 3}, None]


async def test_objects_that_come_together_are_one_batch() -> None:
    go_on = asyncio.Event()

    async def burst(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(100):
            await response.write(b'{"n": %d}' % number)
        await go_on.wait()
        await response.write(b'{"n": 100}')
        return response

    async with served(burst) as base, session(base) as asking, asking.ask("/") as response:
        stream = JsonStream(response)
        assert await stream.batch(3) == [{"n": number} for number in range(100)]
        with pytest.raises(TimeoutError):
            await stream.batch(0.02)
        go_on.set()
        assert [await stream.batch(3) for _ in range(3)] == [[{"n": 100}], [], []]


async def test_a_stream_without_a_pause_comes_in_bounded_batches() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"{}")
            await asyncio.sleep(0)

    async with served(endless) as base, session(base) as asking, asking.ask("/") as response:
        stream = JsonStream(response)
        assert 0 < len(await stream.batch(3)) <= 1000
        assert 0 < len(await stream.batch(3)) <= 1000


async def test_a_stream_that_ends_within_an_object_is_an_error() -> None:
    async with served(answer) as base, session(base) as asking, asking.ask("/half") as response:
        stream = JsonStream(response)
        assert await stream.next(3) == {"a": 1}
        with pytest.raises(DiscoveryError, match="ended within an object"):
            await stream.next(3)


async def test_requests_have_bodies_and_headers_of_their_own() -> None:
    async with served(answer) as base, session(base) as asking:
        found = await asking.ask_json("/echo", params={"q": "a b"}, body={"k": 1}, headers={"x-key": "secret"})
    assert found == {"got": {"k": 1}, "key": "secret", "q": "a b"}


async def test_a_refusal_tells_its_status_and_what_the_server_says() -> None:
    async with served(answer) as base, session(base) as asking:
        with pytest.raises(RefusedError) as caught:
            await asking.ask_json("/gone")
        assert (caught.value.status, caught.value.text) == (410, '{"message": "too old"}')
        assert str(caught.value) == f'{base} answered /gone with 410 Gone: {{"message": "too old"}}'
        with pytest.raises(RefusedError, match="302 Found"):
            await asking.ask_json("/elsewhere")


async def test_what_is_no_json_and_a_server_that_is_not_there_are_errors_in_words() -> None:
    async with served(answer) as base, session(base) as asking:
        with pytest.raises(DiscoveryError, match="answered /text with what is no JSON"):
            await asking.ask_json("/text")
    async with session(base) as asking:
        with pytest.raises(DiscoveryError, match="Cannot connect to host"):
            await asking.ask_json("/text")


async def test_an_answer_has_a_greatest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    async def large(request: web.Request) -> web.Response:
        return web.json_response("x" * 100_000, status=int(request.query["status"]))

    monkeypatch.setattr("propylon.services.discovery._watch_stream.MAX_ANSWER_BYTES", 1000)
    async with served(large) as base, session(base) as asking:
        with pytest.raises(DiscoveryError, match="answered /x with more than 1000 bytes"):
            await asking.ask_json("/x", params={"status": "200"})
        with pytest.raises(RefusedError) as caught:
            await asking.ask_json("/x", params={"status": "500"})
    assert len(str(caught.value)) < 300


async def test_a_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr("propylon.services.discovery._watch_stream.REQUEST_TIMEOUT_S", 0.05)
    async with served(silent) as base, session(base) as asking:
        with pytest.raises(DiscoveryError, match="did not answer /x in time"):
            await asking.ask_json("/x")
