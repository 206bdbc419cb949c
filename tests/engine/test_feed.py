"""Bodies that policies make piece by piece, on their way through an exchange."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from propylon.engine import hook_task
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.feed import IteratorFeed
from propylon.engine.forward import forward
from propylon.engine.response import Response
from tests.support.deadline import settle
from tests.support.fakes import OK, Clock, FakeClient, FakeEndpoint, FakeUpstream, exchange, snapshot


class Pieces:
    """An iterator whose pieces a test gives; it notes what becomes of it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[object] = asyncio.Queue()
        self.asked = 0
        self.cancelled = False

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        self.asked += 1
        try:
            piece: Any = await self.queue.get()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if piece is None:
            raise StopAsyncIteration
        if isinstance(piece, Exception):
            raise piece
        return piece  # type: ignore[no-any-return]

    async def give(self, *pieces: object) -> None:
        for piece in pieces:
            self.queue.put_nowait(piece)
        await settle()


async def answered(
    pieces: object,
    *policies: object,
    method: bytes = b"GET",
    headers: dict[str, str] | None = None,
    length: int | None = None,
) -> tuple[Exchange, FakeClient]:
    """An exchange that a policy has answered with a body made of pieces."""
    client = FakeClient()
    answer = Response(200, body=pieces, headers=headers, length=length)  # type: ignore[arg-type]
    x = exchange(snapshot(*policies, lambda x: answer), client=client, method=method)
    x.start(forward(x))
    await settle()
    return x, client


async def test_each_piece_is_sent_when_it_is_there_and_then_the_end() -> None:
    pieces = Pieces()
    x, client = await answered(pieces)
    assert client.calls[0][0::3] == ("send_head", -1)
    await pieces.give(b"one", b"", b"two")
    assert client.body == b"onetwo"
    assert not x.finished
    await pieces.give(None)
    assert client.names[-1] == "end_body"
    assert client.done == [x]


async def test_it_is_not_asked_while_somebody_holds_it() -> None:
    pieces = Pieces()
    x, client = await answered(pieces)
    assert x.response is not None
    body = x.response.content
    assert isinstance(body, Body)
    body.source.hold(client)
    await pieces.give(b"one")
    asked = pieces.asked
    await pieces.give(b"two")
    assert (client.body, pieces.asked) == (b"one", asked)
    body.source.release(client)
    await settle()
    assert client.body == b"onetwo"
    x.fail(GatewayError("relay.client_gone"))


async def test_a_client_that_goes_ends_the_iterator() -> None:
    pieces = Pieces()
    x, client = await answered(pieces)
    await pieces.give(b"one")
    x.fail(GatewayError("relay.client_gone"))
    await settle()
    assert pieces.cancelled
    assert x.finished
    assert "end_body" not in client.names


@pytest.mark.parametrize("piece", [KeyError("secret"), "text", GatewayError("response.policy_failed")])
async def test_a_failure_cuts_the_answer_and_never_ends_it(piece: object) -> None:
    pieces = Pieces()
    x, client = await answered(pieces)
    await pieces.give(b"one", piece)
    assert client.names == ["send_head", "write_body", "abort"]
    assert x.error is not None
    assert x.error.code == "response.policy_failed"
    assert b"secret" not in client.body


async def test_a_known_length_is_sent() -> None:
    pieces = Pieces()
    _, client = await answered(pieces, length=6)
    assert client.calls[0][0::3] == ("send_head", 6)
    await pieces.give(b"one", b"two", None)
    assert client.names[-1] == "end_body"
    _, client = await answered(Pieces(), method=b"HEAD", length=6)
    assert b"content-length: 6\r\n" in client.calls[0][2]


@pytest.mark.parametrize("pieces", [(b"one", None), (b"one", b"twoo", None)])
async def test_fewer_or_more_bytes_than_were_announced_are_a_failure(pieces: tuple[object, ...]) -> None:
    source = Pieces()
    _, client = await answered(source, length=6)
    await source.give(*pieces)
    assert client.names == ["send_head", "write_body", "abort"]


async def test_the_time_between_two_pieces_is_bounded() -> None:
    pieces = Pieces()
    x, client = await answered(pieces, lambda x: x.set_timeouts(idle=5.0))
    first = x.deadline
    await pieces.give(b"one")
    assert first < x.deadline < float("inf")
    x.check(x.deadline)
    await settle()
    assert x.error is not None
    assert x.error.code == "response.stalled"
    assert pieces.cancelled
    assert client.names[-1] == "abort"


async def test_a_client_that_was_slow_does_not_take_the_iterator_its_deadline() -> None:
    pieces = Pieces()
    x, client = await answered(pieces)
    await pieces.give(b"one")
    feed = x.response_source
    assert feed is not None
    feed.hold(client)
    assert x.deadline == float("inf")
    feed.release(client)
    assert (x.deadline < float("inf"), x.expiry) == (True, "response.stalled")
    x.fail(GatewayError("relay.client_gone"))


async def test_the_total_time_ends_with_the_head() -> None:
    pieces = Pieces()
    x, client = await answered(pieces, lambda x: x.set_timeouts(total=5.0, idle=60.0))
    await pieces.give(b"one")
    x.check(x.started + 6.0)
    await pieces.give(None)
    assert x.error is None
    assert client.names[-1] == "end_body"


@pytest.mark.parametrize("end", [None, KeyError("secret")])
async def test_the_garbage_collector_has_nothing_to_do_for_it(end: object) -> None:
    pieces = Pieces()
    x, _ = await answered(pieces)
    await pieces.give(b"one", end)
    assert x.finished
    assert x.response is not None
    content = x.response.content
    assert isinstance(content, Body)
    assert not any(each is x for each in gc.get_referents(content, content.source))


async def test_a_tap_is_told_that_the_client_has_gone() -> None:
    class Tap:
        def __init__(self) -> None:
            self.told: list[object] = []

        def write_body(self, data: bytes) -> None:
            self.told.append(data)

        def end_body(self, trailers: object) -> None:
            self.told.append("end")

        def fail_body(self, error: GatewayError) -> None:
            self.told.append(error.code)

        def on_response(self, x: Exchange) -> None:
            assert x.response is not None
            x.response.tap(self)

    for end, told in ((False, ["relay.client_gone"]), (True, ["end"])):
        pieces, tap = Pieces(), Tap()
        x, _ = await answered(pieces, tap)
        await pieces.give(b"one", *([None] if end else []))
        x.fail(GatewayError("relay.client_gone"))
        assert tap.told == [b"one", *told]


async def test_head_asks_for_no_piece_and_tells_no_length() -> None:
    pieces = Pieces()
    x, client = await answered(pieces, method=b"HEAD")
    assert client.calls[0][0] == "send"
    assert b"content-length" not in client.calls[0][2]
    assert pieces.asked == 0
    assert x.finished


async def test_policies_change_and_read_it_like_any_other() -> None:
    async def made() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    upper = SimpleNamespace(on_response_chunk=lambda x, data: data.upper())
    _, client = await answered(made(), upper)
    assert client.body == b"AB"

    async def read(x: Exchange) -> None:
        assert x.response is not None
        x.response.replace_body(await x.response.body() + b"!")

    _, client = await answered(made(), SimpleNamespace(on_response=read))
    assert client.calls[0][0] == "send"
    assert client.body == b"ab!"


async def test_an_on_response_policy_may_put_one_in_the_place_of_a_services_answer() -> None:
    async def made() -> AsyncIterator[bytes]:
        yield b"other"

    def replaced(x: Exchange) -> None:
        x.response = Response(200, body=made())

    client, upstream = FakeClient(), FakeUpstream()
    x = exchange(snapshot(SimpleNamespace(on_response=replaced), endpoint=FakeEndpoint(upstream)), client=client)
    x.start(forward(x))
    upstream.begin_answer(OK + b"content-length: 100\r\n", b"of the service")
    await settle()
    assert (client.body, client.names[-1]) == (b"other", "end_body")
    assert upstream.finished == 1
    assert x.finished


async def test_an_event_stream_of_a_policy_is_one_like_any_other() -> None:
    pieces = Pieces()
    x, client = await answered(
        pieces,
        lambda x: x.set_stream_rules(error_event=True),
        headers={"content-type": "text/event-stream"},
    )
    await pieces.give(b"data: 1\n\ndata: half", ValueError("secret"))
    assert client.body.startswith(b"data: 1\n\nevent: error\n")
    assert client.names[-1] == "end_body"
    assert x.finished


async def test_one_response_object_serves_many_exchanges_if_its_iterator_can() -> None:
    class Twice:
        async def _made(self) -> AsyncIterator[bytes]:
            yield b"again"

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._made()

    answer = Response(200, body=Twice())
    for _ in range(2):
        client = FakeClient()
        x = exchange(snapshot(lambda x: answer), client=client)
        x.start(forward(x))
        await settle()
        assert client.body == b"again"


async def test_nothing_runs_before_somebody_wants_the_body() -> None:
    pieces = Pieces()
    x = exchange()
    feed = IteratorFeed(x, pieces)
    feed.cancel()
    await settle()
    assert pieces.asked == 0


async def test_one_that_blocks_and_then_raises_is_named_for_both(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(monkeypatch, hook_task)

    async def ticks() -> AsyncIterator[bytes]:
        yield b"one"
        clock.now += 0.2
        raise ValueError("no")

    x, _ = await answered(ticks())
    assert x.finished
    name = f"body {ticks.__qualname__}"
    told = sorted(record.getMessage() for record in caplog.records if record.name == "propylon.policies")
    assert told[0].startswith(f"policy {name} blocked the event loop for 200 ms")
    assert told[1].startswith(f"policy {name} raised ValueError status=200 ")
