"""Messages as policies see them: whole, in order, bounded; and what becomes of a tunnel whose policy fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon.engine import hook_task
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.websocket import messages as module
from propylon.engine.websocket.message import Message
from propylon.engine.websocket.messages import DEFAULT_MAX_BYTES, MessageReader, codec
from propylon.engine.websocket.settings import Reconnect
from propylon.engine.websocket.tunnel import CLOSE_SECONDS
from propylon.http.frames import FrameLimits
from propylon.http.permessage_deflate import DeflateParameters
from propylon.http.websocket import WebSocketError
from tests.support.deadline import settle
from tests.support.fakes import Clock
from tests.support.frames import MASK, SWITCH, Frame, close_frame, frame, read_frames
from tests.support.tunnels import Relay, clock_of

DEFLATE = SWITCH.replace(b"\r\n\r\n", b"\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n")
Hook = Callable[[Exchange, str, Message], Any]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return clock_of(monkeypatch)


class Looks:
    """A policy of one hook, which is given; what it has seen."""

    def __init__(self, hook: Hook = lambda x, direction, message: None) -> None:
        self.seen: list[tuple[str, str | bytes]] = []
        self._hook = hook

    def on_message(self, x: Exchange, direction: str, message: Message) -> Any:
        self.seen.append((direction, message.data))
        return self._hook(x, direction, message)


class Gate(Looks):
    """Lets a message go when it is told to."""

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.waiting: list[asyncio.Future[None]] = []

    def _wait(self, x: Exchange, direction: str, message: Message) -> Awaitable[None]:
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]

    async def open(self, relay: Relay) -> None:
        """Let the message go that waits; give everything its turn."""
        self.waiting.pop(0).set_result(None)
        await turn(relay)


async def turn(relay: Relay) -> None:
    await settle(5)
    relay.settle()
    await settle(5)


def payloads(frames: list[Frame]) -> list[bytes]:
    return [each.payload for each in frames if each.opcode < 8]


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def inflated(frames: list[Frame], bits: int = 15) -> list[bytes]:
    """The messages of frames, whose contexts are kept."""
    reader, found = zlib.decompressobj(wbits=-bits), []
    for each in frames:
        found.append(reader.decompress(each.payload + b"\0\0\xff\xff") if each.rsv == 4 else each.payload)
    return found


# what is seen and sent


def test_hooks_see_whole_messages_of_both_sides_and_the_rest_passes() -> None:
    policy = Looks()
    relay = Relay(policy)
    relay.client.send(frame(1, b"in ", final=False), frame(9, b"?"), frame(0, b"pieces") + frame(2, b"\xff"))
    relay.endpoint.send(frame(10, b"!", mask=None), frame(1, "über".encode(), mask=None))
    assert policy.seen == [("client", "in pieces"), ("client", b"\xff"), ("service", "über")]
    assert relay.endpoint.frames() == [Frame(9, b"?"), Frame(1, b"in pieces"), Frame(2, b"\xff")]
    assert relay.client.frames() == [Frame(10, b"!"), Frame(1, "über".encode())]


def test_what_hooks_make_of_it_is_what_the_other_side_gets_in_the_order_of_the_hooks() -> None:
    def first(x: Exchange, direction: str, message: Message) -> None:
        message.data = f"{message.data!r}1"

    def second(x: Exchange, direction: str, message: Message) -> None:
        message.data = f"{message.data}2".encode()

    relay = Relay(Looks(first), Looks(second))
    relay.client.send(frame(1, b"a"))
    assert relay.endpoint.frames() == [Frame(2, b"'a'12")]


def test_what_a_hook_drops_no_further_one_sees() -> None:
    second = Looks()
    relay = Relay(Looks(lambda x, direction, message: message.drop()), second)
    relay.client.send(frame(1, b"a"))
    assert relay.endpoint.frames() == second.seen == []


def test_a_message_that_is_replaced_by_what_cannot_be_sent_is_the_policys_failure() -> None:
    def hook(x: Exchange, direction: str, message: Message) -> None:
        message.data = "\ud800"

    relay = Relay(Looks(hook))
    relay.client.send(frame(1, b"a"))
    assert relay.client.closed_with == (1011, "internal_error")


# async hooks


async def test_messages_keep_their_order_and_their_sender_waits() -> None:
    gate = Gate()
    relay = Relay(gate)
    relay.client.send(frame(1, b"1") + frame(9) + frame(1, b"2") + close_frame(1000))
    assert (relay.endpoint.frames(), relay.client.transport.reading) == ([], False)
    await gate.open(relay)
    assert relay.endpoint.frames() == [Frame(1, b"1"), Frame(9, b"")]
    assert not relay.client.transport.reading
    await gate.open(relay)
    assert relay.endpoint.frames()[2:] == [Frame(1, b"2"), Frame(8, b"\x03\xe8")]
    relay.endpoint.send(close_frame(1000, mask=None))
    assert (relay.done, relay.error) == (True, None)


async def test_the_other_direction_does_not_wait() -> None:
    gate = Gate()
    relay = Relay(gate)
    relay.client.send(frame(1, b"slow"))
    relay.endpoint.send(frame(9, mask=None))
    assert relay.client.frames() == [Frame(9, b"")]


async def test_nothing_is_sent_behind_the_gateways_close_frame_that_waited_for_a_hook() -> None:
    gate = Gate()
    relay = Relay(gate)
    relay.client.send(frame(1, b"1") + frame(9) + frame(1, b"2") + close_frame(1000))
    relay.close(4000, "token")
    await gate.open(relay)
    assert relay.endpoint.frames() == [Frame(8, b"\x0f\xa0token")]
    assert relay.client.frames() == [Frame(8, b"\x0f\xa0token")]
    relay.endpoint.send(close_frame(1000, mask=None))
    assert (relay.done, relay.error) == (True, None), "the client's Close frame was its answer"
    assert gate.waiting == []


async def test_what_comes_while_it_is_closed_is_not_kept(clock: Clock) -> None:
    gate = Gate()
    relay = Relay(gate, clock=clock, limits=FrameLimits(message=2**62))
    relay.client.send(frame(1, b"1") + bytes((0x82, 0xFF)) + (2**40).to_bytes(8, "big") + b"mask")
    relay.close()
    assert relay.client.transport.reading
    tracemalloc.start()
    piece = b"x" * 100_000
    relay.client.send(*[piece] * 200)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 1_000_000
    relay.check(CLOSE_SECONDS + 0.1)
    assert relay.done
    await settle()


@pytest.mark.parametrize("side", ["client", "endpoint"])
async def test_a_side_that_goes_away_ends_its_hook(side: str) -> None:
    gate = Gate()
    relay = Relay(gate)
    getattr(relay, side).send(frame(1, b"x", mask=None) if side == "endpoint" else frame(1, b"x"))
    await turn(relay)
    getattr(relay, side).reset()
    await settle()
    assert gate.waiting[0].cancelled()


async def test_no_hook_sees_what_nobody_is_left_to_get() -> None:
    gate = Gate()
    relay = Relay(gate)
    relay.client.send(frame(1, b"1") + frame(1, b"2"), frame(1, b"3"))
    await turn(relay)
    relay.endpoint.reset()
    relay.client.send(close_frame(1011))
    await turn(relay)
    assert gate.seen == [("client", "1")]
    assert gate.waiting[0].cancelled()
    assert relay.client.closed_with == (1011, "upstream_error")
    assert relay.done


async def test_a_hook_that_never_ends_has_the_time_of_policies(clock: Clock) -> None:
    gate = Gate()
    relay = Relay(gate, clock=clock, ping=None)
    relay.client.send(frame(1, b"x"))
    await turn(relay)
    relay.check(29.9)
    assert relay.client.frames() == []
    relay.check(0.2)
    assert relay.client.closed_with == relay.endpoint.closed_with == (1011, "internal_error")
    relay.check(CLOSE_SECONDS + 0.1)
    await settle()
    assert (relay.done, relay.error) == (True, "request.policy_timeout")
    assert gate.waiting[0].cancelled()


async def test_each_message_has_that_time_anew(clock: Clock) -> None:
    gate = Gate()
    relay = Relay(gate, clock=clock, ping=None)
    for _ in range(3):
        relay.client.send(frame(1, b"x"))
        relay.check(20.0)
        await gate.open(relay)
    assert len(relay.endpoint.frames()) == 3
    relay.check(1000.0)
    assert not relay.done


# hooks that fail


def raises(error: BaseException) -> Hook:
    def hook(x: Exchange, direction: str, message: Message) -> None:
        raise error

    return hook


def raises_later(error: BaseException) -> Hook:
    async def hook(x: Exchange, direction: str, message: Message) -> None:
        await asyncio.sleep(0)
        raise error

    return hook


@pytest.mark.parametrize("way", [raises, raises_later])
@pytest.mark.parametrize(
    ("error", "close", "code"),
    [
        (ValueError("secret"), (1011, "internal_error"), "tunnel.policy_failed"),
        (asyncio.CancelledError(), (1011, "internal_error"), "tunnel.policy_failed"),
        (GatewayError("request.policy_failed"), (1008, "request.policy_failed"), "request.policy_failed"),
    ],
)
async def test_a_hook_that_fails_closes_both(
    way: Callable[[BaseException], Hook],
    error: BaseException,
    close: tuple[int, str],
    code: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    relay = Relay(Looks(way(error)))
    relay.client.send(frame(1, b"x") + frame(1, b"y") + close_frame(1000))
    await turn(relay)
    assert relay.client.frames() == relay.endpoint.frames()
    assert relay.client.closed_with == close
    relay.endpoint.send(close_frame(1000, mask=None))
    assert (relay.done, relay.error) == (True, code)
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert len(tracebacks) == (0 if isinstance(error, GatewayError) else 1)


@pytest.mark.parametrize("later", [False, True])
async def test_a_hook_may_close_the_tunnel_and_its_message_does_not_pass(later: bool) -> None:
    async def much_later(x: Exchange, direction: str, message: Message) -> None:
        await asyncio.sleep(0)
        at_once(x, direction, message)

    def at_once(x: Exchange, direction: str, message: Message) -> None:
        assert x.tunnel is not None
        x.tunnel.close(4009, "no")
        x.tunnel.close(4010)

    second = Looks()
    relay = Relay(Looks(much_later if later else at_once), second)
    relay.client.send(frame(1, b"x") + frame(9) + close_frame(1000))
    await turn(relay)
    assert relay.client.frames() == relay.endpoint.frames() == [Frame(8, b"\x0f\xa9no")]
    assert second.seen == []
    relay.endpoint.send(close_frame(1000, mask=None))
    assert (relay.done, relay.error) == (True, None)


def test_a_hook_that_blocks_the_loop_is_named(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    def hook(x: Exchange, direction: str, message: Message) -> None:
        clock.now += 5.0

    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(module, "monotonic", clock)
        patch.setattr(hook_task, "monotonic", clock)
        Relay(Looks(hook), ping=None).client.send(frame(1, b"x"))
    assert "policy p0 blocked the event loop for 5000 ms" in caplog.text


# who breaks the protocol


@pytest.mark.parametrize(
    ("data", "close"),
    [
        (frame(1, b"\xff\xfe"), (1007, "text is not UTF-8")),
        (frame(1, b"\xc3", final=False) + frame(0, b"("), (1007, "text is not UTF-8")),
        (frame(2, b"x" * (DEFAULT_MAX_BYTES + 1)), (1009, "message_too_big")),
        (frame(2, b"x" * DEFAULT_MAX_BYTES, final=False) + frame(0, b"y"), (1009, "message_too_big")),
        (frame(1, b"x", mask=None), (1002, "frame is not masked")),
    ],
)
def test_a_client_that_breaks_the_protocol_is_told_behind_what_was_right(data: bytes, close: tuple[int, str]) -> None:
    relay = Relay(Looks())
    relay.client.send(frame(1, b"good") + data + frame(1, b"late"), frame(1, b"later"))
    assert [each.payload for each in relay.endpoint.frames()] == [b"good", b"\x03\xe9client_gone"]
    assert relay.client.frames() == [Frame(8, close[0].to_bytes(2, "big") + close[1].encode())]
    relay.endpoint.send(close_frame(1001, mask=None))
    relay.client.fin()
    assert (relay.done, relay.error) == (True, "tunnel.client_broke")


@pytest.mark.parametrize(
    ("payload", "close"),
    [(b"\xff\xff", (1002, "bad frame or compression")), (deflated(b"\0" * 50_000_000), (1009, "message_too_big"))],
)
def test_bad_compression_and_bombs_are_told(payload: bytes, close: tuple[int, str]) -> None:
    relay = Relay(Looks(), head=DEFLATE)
    relay.client.send(frame(2, payload, rsv=4))
    assert relay.client.closed_with == close


def test_a_bomb_in_pieces_is_one_too() -> None:
    relay = Relay(Looks(), head=DEFLATE, limits=FrameLimits(message=100_000))
    bomb = deflated(b"\0" * 10_000_000)
    relay.client.send(frame(2, bomb[:10], rsv=4, final=False))
    for at in range(10, len(bomb), 10):
        relay.client.send(frame(0, bomb[at : at + 10], final=False))
    assert relay.client.closed_with == (1009, "message_too_big")


def test_without_an_agreement_nothing_is_compressed() -> None:
    relay = Relay(Looks())
    relay.client.send(frame(2, deflated(b"x"), rsv=4))
    assert relay.client.closed_with == (1002, "bad opcode, reserved bit or fragment")


# memory


async def test_what_waits_behind_an_async_hook_is_not_inflated() -> None:
    gate = Gate()
    relay = Relay(gate, head=DEFLATE)
    one = frame(2, deflated(b"\0" * DEFAULT_MAX_BYTES), rsv=4)
    tracemalloc.start()
    relay.client.send(one * (250_000 // len(one)))
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 3 * DEFAULT_MAX_BYTES
    assert peak < 5 * DEFAULT_MAX_BYTES


def test_what_a_full_side_cannot_take_waits_compressed() -> None:
    relay = Relay(Looks(), head=DEFLATE)
    relay.endpoint.stall()
    relay.client.send(frame(2, deflated(b"1" * 1000), rsv=4))
    assert relay.endpoint.transport.unsent == 1
    relay.endpoint.resume()
    assert inflated(relay.endpoint.frames()) == [b"1" * 1000]
    written, end = relay.endpoint.transport.write, relay.endpoint.transport.protocol

    def full(data: bytes) -> None:
        written(data)
        relay.endpoint.transport.full = True
        end.pause_writing()

    end.write = full
    alone = zlib.compressobj(wbits=-15)
    three = [alone.compress(text) + alone.flush(zlib.Z_SYNC_FLUSH) for text in (b"2" * 99, b"3" * 99, b"4" * 99)]
    relay.endpoint.transport.take()
    relay.client.send(b"".join(frame(2, each.removesuffix(b"\0\0\xff\xff"), rsv=4) for each in three) + frame(9))
    assert len(relay.endpoint.frames()) == 1
    for number in (2, 3, 4):
        relay.endpoint.resume()
        assert len(relay.endpoint.frames()) == number


@pytest.mark.parametrize(
    ("message", "count", "most"), [(frame(1, deflated(b"x" * 100_000), rsv=4), 60, 3), (frame(1, b"x"), 1000, 256)]
)
async def test_others_have_their_turn_while_many_messages_of_one_read_pass(
    message: bytes, count: int, most: int
) -> None:
    relay = Relay(policy := Looks(), head=DEFLATE.replace(b"deflate", b"deflate; client_no_context_takeover"))
    relay.client.send(message * count)
    assert len(policy.seen) == most
    assert not relay.client.transport.reading
    turns = 0
    while len(policy.seen) < count:
        await asyncio.sleep(0)
        turns += 1
    assert turns >= count // most - 1
    assert len(relay.endpoint.frames()) == count
    await settle()
    assert relay.client.transport.reading


async def test_a_side_that_goes_away_while_it_waits_for_its_turn_is_done() -> None:
    relay = Relay(policy := Looks())
    relay.client.send(frame(1, b"x") * 1000)
    relay.client.reset()
    relay.endpoint.send(close_frame(1001, mask=None))
    await settle()
    assert relay.done
    assert len(policy.seen) == 256


def test_fragments_without_content_cost_no_memory() -> None:
    reader = MessageReader(True, None, 100)
    empty = frame(0, b"", final=False) * 10_000
    reader.feed(frame(1, b"", final=False))
    assert reader.next() is None
    tracemalloc.start()
    for _ in range(5):
        reader.feed(empty)
        assert reader.next() is None
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 200_000


# an invalid frame


async def test_messages_before_an_invalid_frame_pass_their_hooks_first(clock: Clock) -> None:
    for broken, other in (("client", "endpoint"), ("endpoint", "client")):
        gate = Gate()
        relay = Relay(gate, clock=clock)
        sender, receiver = getattr(relay, broken), getattr(relay, other)
        mask = MASK if sender.is_client else None
        sender.send(frame(1, b"1", mask=mask) + frame(2, b"2", mask=mask) + frame(3, b"bad", mask=mask))
        sender.send(frame(1, b"3", mask=mask))
        await gate.open(relay)
        await gate.open(relay)
        assert payloads(receiver.frames())[:2] == [b"1", b"2"]
        assert [each.opcode for each in receiver.frames()] == [1, 2, 8]
        assert sender.closed_with == (1002, "bad opcode, reserved bit or fragment")


# compression


@pytest.mark.parametrize("parameters", ["", "; client_no_context_takeover; server_no_context_takeover"])
@pytest.mark.parametrize("bits", [9, 12, 15])
def test_messages_are_compressed_for_the_window_that_was_agreed_on(parameters: str, bits: int) -> None:
    said = f"permessage-deflate; server_max_window_bits={bits}; client_max_window_bits={bits}{parameters}".encode()
    relay = Relay(Looks(), head=DEFLATE.replace(b"permessage-deflate", said))
    texts = [bytes(range(256)) * 40, b"again " * 200, b"short"]
    for peer, other in ((relay.client, relay.endpoint), (relay.endpoint, relay.client)):
        for text in texts:
            peer.send(frame(2, text) if peer.is_client else frame(2, text, mask=None))
        received = other.frames()
        if parameters:
            assert [inflated([each], bits)[0] for each in received] == texts
        else:
            assert inflated(received, bits) == texts
        assert [each.rsv for each in received] == [4, 4, 0]


def test_for_a_window_that_zlib_cannot_write_nothing_is_compressed() -> None:
    said = b"permessage-deflate; server_max_window_bits=8; client_max_window_bits=8"
    relay = Relay(Looks(), head=DEFLATE.replace(b"permessage-deflate", said))
    relay.client.send(frame(2, b"x" * 500))
    assert relay.endpoint.frames() == [Frame(2, b"x" * 500)]


# another endpoint


def test_a_message_in_pieces_goes_to_the_new_endpoint_as_a_whole(clock: Clock) -> None:
    relay = Relay(Looks(), clock=clock, upstreams=2, reconnect=Reconnect(attempts=2, interval=1.0, decay=1.0))
    relay.client.send(frame(1, b"one ", final=False) + frame(0, b"two ")[:4])
    relay.endpoint.reset()
    relay.replace(1)
    relay.client.send(frame(0, b"two ")[4:])
    assert relay.endpoint.frames() == [Frame(1, b"one two ")]


async def test_a_message_that_a_hook_has_while_the_endpoint_changes_goes_to_the_new_one(clock: Clock) -> None:
    gate = Gate()
    relay = Relay(gate, clock=clock, upstreams=2, reconnect=Reconnect(attempts=2, interval=1.0, decay=1.0))
    relay.client.send(frame(1, b"1") + frame(1, b"2"))
    relay.endpoint.reset()
    relay.replace(1)
    await gate.open(relay)
    assert relay.endpoint.frames() == [Frame(1, b"1")]
    await gate.open(relay)
    assert relay.endpoint.frames() == [Frame(1, b"1"), Frame(1, b"2")]


async def test_a_hook_that_never_ends_ends_the_search_for_an_endpoint_too(clock: Clock) -> None:
    gate = Gate()
    relay = Relay(gate, clock=clock, upstreams=2, ping=None, reconnect=Reconnect(attempts=2, interval=1.0, decay=1.0))
    relay.client.send(frame(1, b"x"))
    await turn(relay)
    relay.check(10.0)
    relay.endpoint.reset()
    relay.check(20.1)
    assert relay.client.closed_with == (1011, "internal_error")
    relay.check(CLOSE_SECONDS + 0.1)
    await settle()
    assert (relay.done, relay.error) == (True, "request.policy_timeout")
    assert gate.waiting[0].cancelled()


# however it is cut


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300) | st.text(max_size=100), max_size=6), st.lists(st.integers(0, 2000)))
def test_messages_are_the_same_however_they_are_cut(messages: list[bytes | str], cuts: list[int]) -> None:
    whole = b"".join(frame(1, m.encode()) if isinstance(m, str) else frame(2, m) for m in messages)
    edges = sorted(min(cut, len(whole)) for cut in cuts)
    reader, found = MessageReader(True, None, 1000), []
    for start, stop in zip([0, *edges], [*edges, len(whole)], strict=True):
        reader.feed(whole[start:stop])
        while (message := reader.next()) is not None:
            assert isinstance(message, Message)
            found.append(message.data)
    assert found == messages


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_whatever_comes_is_a_message_or_refused(data: bytes) -> None:
    side = codec(DeflateParameters({}), of_client=True)
    reader = MessageReader(True, side, 1000)
    reader.feed(data)
    with contextlib.suppress(WebSocketError):
        while reader.next() is not None:
            pass


def test_frames_that_are_sent_on_are_well_formed() -> None:
    relay = Relay(Looks())
    relay.client.send(frame(2, b"x" * 126), frame(2, b"y" * 65536), frame(10, b"z" * 125))
    found, rest = read_frames(bytes(relay.endpoint.transport.written), masked=True)
    assert (payloads(found), rest) == ([b"x" * 126, b"y" * 65536], b"")
