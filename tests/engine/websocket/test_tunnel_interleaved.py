"""Whatever two peers, time and a policy do to a tunnel, in whatever order: what must hold for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon.engine.websocket.settings import Reconnect
from propylon.engine.websocket.tunnel import CLOSE_SECONDS
from propylon.http.websocket import may_be_sent
from tests.support.frames import MASK, Frame, close_frame, frame, read_frames
from tests.support.tunnels import Peer, Relay, clock_of

CONTROL = [(9, b"ping"), (10, b"pong")]
BROKEN = [(3, b"opcode"), (0, b"nothing to continue"), (8, b"\x03\xed"), (8, b"\x03")]


@st.composite
def messages(draw: st.DrawFn) -> list[tuple[int, bytes, bool]]:
    """The frames of a message, control frames in between: opcode, payload, final."""
    sizes = draw(st.lists(st.sampled_from([0, 1, 7, 130]), min_size=1, max_size=3))
    frames = []
    for number, size in enumerate(sizes):
        frames.append((0 if number else 2, bytes([number]) * size, number == len(sizes) - 1))
        frames += [(*draw(st.sampled_from(CONTROL)), True)] * draw(st.integers(0, 1))
    return frames


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[int, bytes, bool]]:
    """All that a peer sends: messages, and how it ends, if it ends."""
    frames = [each for message in draw(st.lists(messages(), max_size=3)) for each in message]
    end = draw(st.sampled_from(["open", "within", "close", "broken", "behind"]))
    if end == "within":
        frames = frames[: len(frames) // 2]
    elif end == "broken":
        frames.append((*draw(st.sampled_from(BROKEN)), True))
    elif end != "open":
        frames.append((8, draw(st.sampled_from([b"", b"\x03\xe8", b"\x0f\xa0bye"])), True))
    if end in ("behind", "broken"):
        frames.append((1, b"behind", True))
    return frames


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.booleans(), st.sampled_from([1, 2, 5, 9, 40, 400])),
        st.tuples(st.sampled_from(["fin", "reset", "stall", "resume"]), st.booleans(), st.none()),
        st.tuples(st.just("check"), st.none(), st.sampled_from([0.1, 3.0, 11.0, 25.0])),
        st.tuples(st.sampled_from(["close", "reopen", "refuse"]), st.none(), st.none()),
    ),
    max_size=25,
)
SETTINGS = st.fixed_dictionaries(
    {
        "ping": st.sampled_from([None, 10.0]),
        "pong_timeout": st.sampled_from([5.0, 20.0]),
        "max_buffered": st.sampled_from([None, 64]),
        "max_age": st.sampled_from([None, 20.0]),
        "write": st.just(15.0),
        "reconnect": st.sampled_from([None, Reconnect(attempts=2, interval=1.0, decay=1.5)]),
    }
)


class Looks:
    """Looks at messages, and changes nothing."""

    def on_message(self, x: Any, direction: str, message: Any) -> None:
        pass


class Sender:
    """A peer that sends its script, a few bytes at a time."""

    def __init__(self, peer: Peer, script: list[tuple[int, bytes, bool]]) -> None:
        mask = MASK if peer.is_client else None
        self.peer = peer
        self.raw = [frame(opcode, payload, final=final, mask=mask) for opcode, payload, final in script]
        self.left = b"".join(self.raw)
        self.ended = False

    def do(self, what: str, size: int | None) -> None:
        if what == "send":
            data, self.left = self.left[:size], self.left[size:]
            if data and not self.ended:
                self.peer.send(data)
        elif what == "stall":
            if self.peer.transport.protocol is not None and not (self.peer.transport.full or self.peer.lost):
                self.peer.stall()
        elif what == "resume":
            if self.peer.transport.full:
                self.peer.resume()
        elif not self.ended:
            self.ended = True
            self.peer.fin() if what == "fin" else self.peer.reset()


def of_the_peer(found: list[Frame]) -> Iterator[Frame]:
    """Frames without the gateway's own pings and the Close frame that may be last."""
    return (each for each in found if each.opcode != 8 and not (each.opcode == 9 and each.payload != b"ping"))


def judge_end(peer: Peer) -> tuple[list[Frame], bytes]:
    """One Close frame at the most, with a code that may be sent, and nothing behind it."""
    found, rest = read_frames(bytes(peer.transport.written), masked=not peer.is_client)
    closes = [each for each in found if each.opcode == 8]
    assert len(closes) <= 1, closes
    if closes:
        assert found[-1] is closes[0], found
        assert rest == b"", rest
        assert not closes[0].payload or may_be_sent(closes[0].close[0]), closes
    return list(of_the_peer(found)), rest


def judge(peer: Peer, other: Sender, *, inspected: bool) -> None:
    """What came to `peer` is what `other` sent, up to some point."""
    received, rest = judge_end(peer)
    sent, _ = read_frames(b"".join(other.raw), masked=other.peer.is_client)
    sent = list(of_the_peer(sent))
    if inspected:
        assert rest == b""
        assert controls(received) == controls(sent)[: len(controls(received))]
        whole = joined(sent)
        assert [each.payload for each in received if each.opcode < 8] == whole[: len(joined(received))]
        return
    assert received == sent[: len(received)]
    if rest:
        frames = [raw for raw in other.raw if raw[0] & 0x0F != 8]
        assert frames[len(received)].startswith(rest)


def controls(found: list[Frame]) -> list[bytes]:
    return [each.payload for each in found if each.opcode > 8]


def joined(found: list[Frame]) -> list[bytes]:
    whole, pieces = [], b""
    for each in found:
        if each.opcode < 8:
            pieces += each.payload
            if each.final:
                whole.append(pieces)
                pieces = b""
    return whole


@settings(deadline=None, max_examples=300)
@given(scripts(), scripts(), STEPS, SETTINGS, st.booleans())
def test_in_whatever_order(
    from_client: list[tuple[int, bytes, bool]],
    from_endpoint: list[tuple[int, bytes, bool]],
    steps: list[tuple[str, bool | None, Any]],
    keys: dict[str, Any],
    inspected: bool,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        policies = [Looks()] if inspected else []
        relay = Relay(*policies, clock=clock_of(patch), upstreams=9, **keys)
        senders = [Sender(relay.client, from_client), Sender(relay.endpoint, from_endpoint)]
        first, opened = relay.endpoint, 1
        for what, of_client, value in steps:
            if of_client is not None:
                senders[0 if of_client else 1].do(what, value)
            elif what == "check":
                relay.check(value)
            elif what == "close":
                relay.close()
            elif relay.upstreams[opened].exchange is not None:  # one is asked to take over
                if what == "reopen":
                    relay.replace(opened)
                else:
                    relay.upstreams[opened].answer()
                opened += 1
        relay.close()
        relay.check(CLOSE_SECONDS + 0.1)
        assert relay.done
        if not relay.x.attempts > 1:
            judge(relay.client, senders[1], inspected=inspected)
            judge(first, senders[0], inspected=inspected)
        for peer in (relay.client, first, relay.endpoint):
            judge_end(peer)
            assert peer.transport.closing


def test_a_close_frame_that_is_answered_ends_both_in_peace() -> None:
    for first, second in (("client", "endpoint"), ("endpoint", "client")):
        relay = Relay()
        asks, answers = getattr(relay, first), getattr(relay, second)
        asks.send(close_frame(4001, "bye", mask=MASK if asks.is_client else None))
        assert answers.closed_with == (4001, "bye")
        assert not relay.done
        answers.send(close_frame(4002, "well", mask=MASK if answers.is_client else None))
        assert asks.closed_with == (4002, "well")
        assert (relay.done, relay.error) == (True, None)
        assert not asks.transport.aborted
