"""A tunnel: who is pinged, told and cut, and when; no sockets, and time only as a test says."""

from __future__ import annotations

import gc
import zlib
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from propylon.engine.errors import GatewayError
from propylon.engine.websocket.settings import Reconnect
from propylon.engine.websocket.tunnel import CLOSE_SECONDS, STEADY_SECONDS
from propylon.http.frames import FrameLimits
from propylon.http.websocket import Close
from tests.support.fakes import Clock, FakeTransport
from tests.support.frames import MASK, SWITCH, Frame, close_frame, frame
from tests.support.tunnels import Peer, Relay, clock_of

TWO = Reconnect(attempts=2, interval=1.0, decay=3.0)
HALF = frame(2, b"x" * 200, mask=None)[:50], frame(2, b"x" * 200, mask=None)[50:]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return clock_of(monkeypatch)


def both(relay: Relay) -> list[tuple[Peer, Peer]]:
    return [(relay.client, relay.endpoint), (relay.endpoint, relay.client)]


def sent_by(peer: Peer, opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """A frame as this peer has to mask it."""
    return frame(opcode, payload, final=final, mask=MASK if peer.is_client else None)


def close_by(peer: Peer, code: int, reason: str = "") -> bytes:
    return close_frame(code, reason, mask=MASK if peer.is_client else None)


def opcodes(peer: Peer) -> list[int]:
    return [each.opcode for each in peer.frames()]


# what passes


@pytest.mark.parametrize("side", [0, 1])
def test_what_a_peer_sends_passes_to_the_byte(side: int) -> None:
    relay = Relay()
    sender, other = both(relay)[side]
    whole = sent_by(sender, 1, b"one ", final=False) + sent_by(sender, 9, b"?") + sent_by(sender, 0, b"t" * 70_000)
    sender.send(*(whole[at : at + 100] for at in range(0, len(whole), 100)))
    assert other.transport.written == whole
    assert sender.frames() == []


def test_what_came_before_both_were_handed_over_passes_then() -> None:
    relay = Relay(from_client=frame(1, b"early"), from_endpoint=frame(1, b"too", mask=None))
    assert relay.endpoint.frames() == [Frame(1, b"early")]
    assert relay.client.frames() == [Frame(1, b"too")]
    assert relay.tunnel.from_client == (1, 11)
    assert relay.tunnel.from_service == (1, 5)


# how it ends: Close frames


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x0f\xa1because"])
def test_a_close_frame_and_its_answer_pass_and_both_are_closed(side: int, payload: bytes) -> None:
    relay = Relay()
    first, second = both(relay)[side]
    first.send(sent_by(first, 8, payload))
    assert second.frames() == [Frame(8, payload)]
    assert not relay.done
    second.send(close_by(second, 4002, "well"))
    assert first.frames() == [Frame(8, b"\x0f\xa2well")]
    assert (relay.done, relay.error) == (True, None)
    assert not first.transport.aborted
    assert not second.transport.aborted


def test_close_frames_that_cross_end_it_and_neither_is_said_twice() -> None:
    relay = Relay()
    relay.client.transport.pause_reading()  # both are on their way before either is read
    relay.client.send(close_frame(1000))
    relay.endpoint.send(close_frame(1001, mask=None))
    relay.client.transport.resume_reading()
    relay.settle()
    assert (relay.client.closed_with, relay.endpoint.closed_with) == ((1001, ""), (1000, ""))
    assert (relay.done, relay.error) == (True, None)


@pytest.mark.parametrize("side", [0, 1])
def test_who_does_not_answer_a_close_frame_is_cut(side: int, clock: Clock) -> None:
    relay = Relay(clock=clock)
    first, second = both(relay)[side]
    first.send(close_by(first, 1000))
    relay.check(CLOSE_SECONDS - 0.1)
    assert not relay.done
    relay.check(0.2)
    assert relay.done
    assert second.transport.aborted


@pytest.mark.parametrize("side", [0, 1])
def test_a_fin_behind_a_close_frame_does_not_take_the_answer_away(side: int) -> None:
    relay = Relay()
    first, second = both(relay)[side]
    first.send(close_by(first, 1000))
    first.fin()
    assert not first.transport.closing
    second.send(close_by(second, 1000))
    assert first.closed_with == (1000, "")
    assert (relay.done, relay.error) == (True, None)


def test_with_tls_there_is_no_half_and_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Relay()
    monkeypatch.setattr(relay.client.transport, "can_write_eof", lambda: False)
    relay.client.send(close_frame(1000))
    relay.client.fin()
    assert relay.client.lost
    relay.endpoint.send(close_frame(1000, mask=None))
    assert (relay.done, relay.error) == (True, None)


# how it ends: a peer is gone


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize(
    ("side", "close", "error"),
    [(0, (1001, "client_gone"), "tunnel.client_lost"), (1, (1011, "upstream_error"), "tunnel.endpoint_lost")],
)
def test_a_peer_that_is_gone_is_told_to_the_other(how: str, side: int, close: tuple[int, str], error: str) -> None:
    relay = Relay()
    gone, other = both(relay)[side]
    getattr(gone, how)()
    assert other.closed_with == close
    assert not relay.done
    other.send(close_by(other, 1000))
    assert (relay.done, relay.error) == (True, error)


@pytest.mark.parametrize("policies", [(), (SimpleNamespace(on_message=lambda x, direction, message: None),)])
@pytest.mark.parametrize("side", [0, 1])
def test_the_garbage_collector_has_nothing_to_do_for_one_that_is_over(side: int, policies: tuple[object, ...]) -> None:
    """Its exchange holds a snapshot, and policies that a reload has removed are closed when that is freed."""
    relay = Relay(*policies)
    gone, other = both(relay)[side]
    gone.reset()
    other.send(close_by(other, 1000))
    assert relay.done
    for end in (relay.tunnel.client, relay.tunnel.endpoint):
        assert not any(each is relay.tunnel or each is relay.x for each in gc.get_referents(end))


@pytest.mark.parametrize("side", [0, 1])
def test_within_a_frame_nothing_can_be_told_and_the_other_side_is_closed(side: int) -> None:
    relay = Relay()
    gone, other = both(relay)[side]
    half = sent_by(gone, 2, b"x" * 200)[:50]
    gone.send(half)
    gone.reset()
    assert other.transport.written == half
    assert relay.done


def test_a_client_that_is_gone_before_the_101_is_told_to_the_endpoint() -> None:
    relay = Relay()
    assert not relay.done
    early = Relay(from_client=frame(1, b"last words"))
    early.client.fin()
    assert [each.opcode for each in early.endpoint.frames()] == [1, 8]


# how it ends: the gateway


def test_close_tells_both_and_is_said_once() -> None:
    relay = Relay()
    relay.close(4000, "token")
    relay.close(4001, "again")
    for peer, _ in both(relay):
        assert peer.frames() == [Frame(8, b"\x0f\xa0token")]
        assert not relay.done
        peer.send(close_by(peer, 1000))
    assert (relay.done, relay.error) == (True, None)
    relay.tunnel.close(1000)  # from a Task that has outlived it


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_close_takes_no_code_that_must_not_be_sent(code: int) -> None:
    relay = Relay()
    with pytest.raises(ValueError, match="no code of a Close frame"):
        relay.close(code)
    assert relay.client.frames() == []


def test_close_takes_no_reason_that_cannot_be_said_and_is_as_open_as_before() -> None:
    relay = Relay()
    with pytest.raises(ValueError, match="surrogates not allowed"):
        relay.close(4000, "\ud800")
    relay.close(4000, "fine")
    assert relay.client.closed_with == relay.endpoint.closed_with == (4000, "fine")


def test_nothing_passes_behind_the_gateways_own_close_frame() -> None:
    relay = Relay()
    relay.close()
    for peer, other in both(relay):
        peer.send(sent_by(peer, 1, b"late"), sent_by(peer, 9), close_by(peer, 1000))
        assert opcodes(other) == [8]
    assert relay.done


def test_a_frame_under_way_is_let_to_its_end_first() -> None:
    relay = Relay()
    relay.endpoint.send(HALF[0])
    relay.close()
    assert relay.client.transport.written == HALF[0]
    assert opcodes(relay.endpoint) == [8]
    relay.endpoint.send(HALF[1] + frame(1, b"late", mask=None))
    assert opcodes(relay.client) == [2, 8]


def test_who_does_not_answer_the_gateway_is_cut(clock: Clock) -> None:
    relay = Relay(clock=clock)
    relay.close()
    relay.check(CLOSE_SECONDS + 0.1)
    assert relay.done
    assert relay.client.transport.aborted


def test_max_age_and_a_stop_close_it_then_whichever_comes_first(clock: Clock) -> None:
    relay = Relay(clock=clock, max_age=100.0, ping=None)
    relay.close_at(200.0, Close(1012, "later"))
    relay.check(99.9)
    assert relay.client.frames() == []
    relay.check(0.2)
    assert relay.client.closed_with == relay.endpoint.closed_with == (1001, "max_age")
    relay = Relay(clock=clock, max_age=100.0, ping=None)
    relay.close_at(5.0, Close(1012, "stop"))
    relay.check(5.1)
    assert relay.client.closed_with == relay.endpoint.closed_with == (1012, "stop")


def test_a_cut_tunnel_is_over_at_once() -> None:
    relay = Relay(reconnect=TWO)
    relay.tunnel.abort()
    relay.settle()
    assert relay.client.lost
    assert relay.endpoint.lost


# who breaks the protocol


def test_a_client_that_breaks_the_protocol_is_told_which_rule_and_the_endpoint_that_it_is_gone() -> None:
    relay = Relay()
    relay.client.send(frame(1, b"good") + frame(3, b"bad") + frame(1, b"late"))
    assert [each.payload for each in relay.endpoint.frames()[:-1]] == [b"good"]
    assert relay.endpoint.closed_with == (1001, "client_gone")
    assert relay.client.closed_with == (1002, "bad opcode, reserved bit or fragment")
    assert relay.client.transport.eof
    assert not relay.client.transport.closing, "a reset would take the Close frame away"
    relay.endpoint.send(close_frame(1000, mask=None))
    relay.client.send(b"\xff" * 100)
    relay.client.fin()
    assert (relay.done, relay.error) == (True, "tunnel.client_broke")


def test_an_endpoint_that_breaks_the_protocol_is_told_and_the_client_learns_nothing_of_it() -> None:
    relay = Relay()
    relay.endpoint.send(frame(1, b"masked"))
    assert relay.endpoint.closed_with == (1002, "frame is masked")
    assert relay.client.closed_with == (1011, "upstream_error")
    relay.client.send(close_frame(1011))
    relay.endpoint.fin()
    assert (relay.done, relay.error) == (True, "tunnel.endpoint_broke")


def test_both_break_the_protocol() -> None:
    relay = Relay()
    relay.endpoint.send(frame(3, mask=None))
    relay.client.send(frame(3))
    assert opcodes(relay.client) == opcodes(relay.endpoint) == [8]


def test_a_client_that_breaks_the_protocol_amid_a_frame_to_it_is_told_behind_that() -> None:
    relay = Relay()
    relay.endpoint.send(HALF[0])
    relay.client.send(frame(3))
    assert not relay.client.transport.eof
    relay.endpoint.send(HALF[1])
    assert [each.opcode for each in relay.client.frames()] == [2, 8]
    assert relay.client.transport.eof


def test_a_close_frame_that_waits_for_a_frame_is_said_even_if_a_broken_one_follows() -> None:
    relay = Relay()
    relay.endpoint.send(HALF[0])
    relay.close(4000)
    relay.endpoint.send(HALF[1] + frame(3, mask=None))
    assert opcodes(relay.client) == [2, 8]
    assert relay.client.closed_with == (4000, "")


def test_a_message_over_the_limit_is_1009() -> None:
    relay = Relay(limits=FrameLimits(message=10))
    relay.client.send(frame(1, b"x" * 11))
    assert relay.client.closed_with == (1009, "message_too_big")


# pings


def test_who_has_sent_nothing_is_pinged_and_nobody_else(clock: Clock) -> None:
    relay = Relay(clock=clock, ping=30.0)
    relay.check(29.9)
    assert relay.client.frames() == relay.endpoint.frames() == []
    relay.endpoint.send(frame(1, b"here", mask=None))
    relay.check(0.2)
    assert [each.opcode for each in relay.client.frames()] == [1, 9]
    assert relay.endpoint.frames() == []
    relay.client.send(frame(10, relay.client.frames()[1].payload))
    assert relay.endpoint.frames() == [], "the gateway's own pong ends here"
    relay.check(30.0)
    assert opcodes(relay.endpoint) == [9], "it has sent nothing since it was asked last"


@pytest.mark.parametrize("answer", ["pong", "another pong", "data", "half a header"])
def test_a_pong_or_any_byte_shows_that_a_peer_is_there(answer: str, clock: Clock) -> None:
    relay = Relay(clock=clock, ping=30.0, pong_timeout=20.0)
    relay.endpoint.send(frame(10, b"", mask=None))
    relay.check(30.1)
    (_, ping) = relay.client.frames()
    pong = frame(10, ping.payload)
    said = {"pong": pong, "another pong": frame(10), "data": frame(1, b"x"), "half a header": b"\x81"}
    relay.client.send(said[answer])
    relay.check(20.1)
    assert not relay.client.transport.closing


@pytest.mark.parametrize(
    ("side", "close", "error"),
    [(0, (1001, "client_gone"), "tunnel.client_silent"), (1, (1011, "upstream_error"), "tunnel.endpoint_silent")],
)
def test_who_answers_no_ping_is_cut_and_the_other_told(
    side: int, close: tuple[int, str], error: str, clock: Clock
) -> None:
    relay = Relay(clock=clock, ping=30.0, pong_timeout=20.0)
    silent, other = both(relay)[side]
    relay.check(30.1)
    other.send(sent_by(other, 10))
    relay.check(19.8)
    assert not silent.transport.closing
    relay.check(0.3)
    assert silent.transport.aborted
    assert other.closed_with == close
    other.send(close_by(other, 1000))
    assert (relay.done, relay.error) == (True, error)


def test_the_time_for_a_pong_may_be_longer_than_that_between_pings(clock: Clock) -> None:
    relay = Relay(clock=clock, ping=10.0, pong_timeout=35.0)
    for _ in range(4):
        relay.check(10.0)
    assert opcodes(relay.client) == [9], "one question at a time"
    assert not relay.client.transport.closing
    relay.check(5.1)
    assert relay.client.transport.aborted


def test_nobody_is_pinged_if_nobody_shall_be(clock: Clock) -> None:
    relay = Relay(clock=clock, ping=None)
    relay.check(100_000.0)
    assert relay.client.frames() == relay.endpoint.frames() == []
    assert not relay.client.transport.closing


@pytest.mark.parametrize("silent", ["client", "endpoint"])
def test_without_pings_a_side_that_acknowledges_nothing_is_given_up(clock: Clock, silent: str) -> None:
    relay = Relay(clock=clock, ping=None)
    deaf, other = (relay.client, relay.endpoint) if silent == "client" else (relay.endpoint, relay.client)
    deaf.transport.unsent = 10
    for _ in range(4):
        relay.check(15.0)
        other.send(frame(1, b"more", mask=MASK if other is relay.client else None))
        deaf.transport.unsent += 20
        assert not deaf.transport.aborted
    relay.check(15.0)
    assert deaf.transport.aborted
    assert relay.x.error is None or relay.x.error.code == f"tunnel.{silent}_silent"


def test_without_pings_a_side_that_acknowledges_a_little_stays(clock: Clock) -> None:
    relay = Relay(clock=clock, ping=None)
    relay.client.transport.unsent = 10_000
    for _ in range(20):
        relay.check(15.0)
        relay.endpoint.send(frame(1, b"more", mask=None))
        relay.client.transport.unsent += 5
    assert not relay.client.transport.aborted


def test_a_peer_that_is_not_read_or_does_not_read_is_not_asked(clock: Clock) -> None:
    relay = Relay(clock=clock, ping=30.0, pong_timeout=5.0, write=1000.0)
    relay.client.stall()
    assert not relay.endpoint.transport.reading
    relay.check(30.1)
    relay.check(5.1)
    assert relay.client.frames() == relay.endpoint.frames() == []
    assert not relay.done
    relay.client.resume()
    relay.check(30.1)
    assert opcodes(relay.client) == opcodes(relay.endpoint) == [9]


def test_a_peer_that_stalls_behind_a_ping_may_not_have_got_it(clock: Clock) -> None:
    relay = Relay(clock=clock, ping=30.0, pong_timeout=5.0)
    relay.check(30.1)
    relay.endpoint.send(frame(10, mask=None))
    relay.client.stall()
    relay.check(5.1)
    assert not relay.client.transport.closing


def test_a_ping_is_not_put_into_a_frame(clock: Clock) -> None:
    relay = Relay(clock=clock, ping=30.0)
    relay.endpoint.send(HALF[0])
    relay.check(30.1)
    relay.check(30.1)
    assert opcodes(relay.endpoint) == [9]
    relay.endpoint.send(HALF[1])
    assert opcodes(relay.client) == [2]


def test_pings_end_with_the_first_close_frame(clock: Clock) -> None:
    relay = Relay(clock=clock, ping=1.0)
    relay.client.send(close_frame(1000))
    relay.check(1.1)
    assert relay.client.frames() == []
    assert opcodes(relay.endpoint) == [8]


# who does not read


@pytest.mark.parametrize("side", [0, 1])
def test_a_peer_that_does_not_read_makes_the_other_wait(side: int) -> None:
    relay = Relay()
    slow, sender = both(relay)[side]
    slow.stall()
    sender.send(sent_by(sender, 1, b"waits"))
    assert slow.frames() == []
    slow.send(sent_by(slow, 1, b"passes"))
    assert sender.frames() == [Frame(1, b"passes")]
    slow.resume()
    assert slow.frames() == [Frame(1, b"waits")]


@pytest.mark.parametrize("side", [0, 1])
def test_who_takes_nothing_at_all_is_given_up_and_who_takes_a_little_is_not(side: int, clock: Clock) -> None:
    relay = Relay(clock=clock, ping=None, write=60.0)
    slow, other = both(relay)[side]
    slow.transport.unsent = 1000
    slow.stall()
    slow.transport.unsent -= 2
    relay.check(60.1)
    assert other.frames() == []
    relay.check(60.1)
    assert other.closed_with == (1013, "backpressure")
    relay.check(CLOSE_SECONDS + 0.1)
    assert (relay.done, relay.error) == (True, "tunnel.backpressure")


@pytest.mark.parametrize("side", [0, 1])
def test_with_max_buffered_both_are_closed_at_once(side: int) -> None:
    relay = Relay(max_buffered=100)
    slow, other = both(relay)[side]
    assert slow.transport.high == other.transport.high == 100
    slow.stall()
    assert other.closed_with == slow.closed_with == (1013, "backpressure")
    other.send(close_by(other, 1013))
    slow.send(close_by(slow, 1013))
    slow.resume()
    assert (relay.done, relay.error) == (True, "tunnel.backpressure")


class Full(FakeTransport):
    """Finds that more is unsent than a new limit allows, and says so at once, as a real one does."""

    def set_write_buffer_limits(self, high: int) -> None:
        self.protocol.pause_writing()


def test_what_was_unsent_at_the_101_counts_for_max_buffered() -> None:
    relay = Relay(max_buffered=100, transport=Full(), from_endpoint=frame(1, b"flood", mask=None))
    assert relay.client.closed_with == relay.endpoint.closed_with == (1013, "backpressure")
    assert opcodes(relay.client) == [8]


@pytest.mark.parametrize("max_buffered", [None, 100])
def test_a_frame_without_end_is_not_taken_for_a_peer_that_does_not_read(max_buffered: int | None, clock: Clock) -> None:
    """However it ends: the frame has to wait, or the memory would be full before the few seconds are over."""
    relay = Relay(clock=clock, max_buffered=max_buffered)
    relay.endpoint.send(bytes((0x82, 127)) + (2**40).to_bytes(8, "big"))
    relay.client.stall()
    relay.close()
    relay.endpoint.send(b"x" * 1000, b"x" * 1000)
    assert len(relay.client.transport.written) == 10
    relay.check(CLOSE_SECONDS + 0.1)
    assert relay.done


def test_a_frame_that_had_to_wait_goes_on_before_the_close_frame() -> None:
    relay = Relay()
    relay.endpoint.send(HALF[0])
    relay.client.stall()
    relay.close()
    relay.endpoint.send(HALF[1], close_frame(1000, mask=None))
    relay.client.resume()
    assert opcodes(relay.client) == [2, 8]
    relay.client.send(close_frame(1000))
    assert relay.done


@pytest.mark.parametrize("side", [0, 1])
def test_a_peer_that_stalls_by_its_close_frame_does_not_keep_the_other_from_answering(side: int) -> None:
    relay = Relay()
    slow, other = both(relay)[side]
    write, end = slow.transport.write, slow.transport.protocol

    def full(data: bytes) -> None:
        write(data)
        end.pause_writing()

    end.write = full
    relay.close()
    assert opcodes(slow) == [8]
    assert other.transport.reading


# another endpoint


def lost(clock: Clock, **keys: Any) -> Relay:
    """A tunnel whose endpoint has just gone, and which looks for another."""
    relay = Relay(clock=clock, upstreams=5, **{"reconnect": TWO, "ping": None} | keys)
    relay.endpoint.reset()
    return relay


def asked(relay: Relay) -> list[bool]:
    """Which of the further endpoints have been asked."""
    return [bool(upstream.sent) for upstream in relay.upstreams[1:]]


def test_another_endpoint_takes_over_at_once_and_the_client_waits(clock: Clock) -> None:
    relay = lost(clock)
    assert asked(relay) == [True, False, False, False]
    relay.client.send(frame(1, b"waits"))
    relay.replace(1, early=frame(1, b"hello", mask=None))
    assert relay.client.frames() == [Frame(1, b"hello")]
    assert relay.endpoint.frames() == [Frame(1, b"waits")]
    assert relay.tunnel.from_service == (1, 7)
    relay.client.send(close_frame(1000))
    relay.endpoint.send(close_frame(1000, mask=None))
    assert (relay.done, relay.error) == (True, None)


def test_the_pauses_between_tries_grow_and_then_the_client_is_told(clock: Clock) -> None:
    relay = lost(clock, reconnect=Reconnect(attempts=3, interval=1.0, decay=3.0))
    for number, pause in ((1, 1.0), (2, 3.0)):
        relay.upstreams[number].fail("attempt.closed")
        relay.check(pause - 0.1)
        assert asked(relay)[number] is False
        relay.check(0.2)
        assert asked(relay)[number] is True
    relay.upstreams[3].fail("connect.refused")
    assert relay.client.closed_with == (1011, "upstream_error")
    relay.client.send(close_frame(1011))
    assert (relay.done, relay.error) == (True, "connect.refused")
    assert [upstream.finished for upstream in relay.upstreams] == [1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 101 x\r\nupgrade: websocket\r\nsec-websocket-protocol: other\r\n"]
)
def test_an_endpoint_that_opens_another_websocket_or_none_does_not_take_over(answer: bytes, clock: Clock) -> None:
    relay = lost(clock)
    relay.upstreams[1].answer(answer, b"page")
    assert relay.upstreams[1].finished == 1, "it is let go at once"
    assert relay.x.deadline == inf
    relay.check(1.1)
    assert asked(relay)[1] is True
    assert relay.client.frames() == []


def test_an_endpoint_that_dies_as_soon_as_it_has_opened_is_not_asked_for_ever(clock: Clock) -> None:
    relay = lost(clock)
    relay.replace(1)
    relay.endpoint.reset()
    assert asked(relay)[1] is False, "not at once"
    relay.check(1.1)
    relay.replace(2)
    relay.endpoint.reset()
    assert relay.client.closed_with == (1011, "upstream_error")


def test_an_endpoint_that_was_there_for_a_while_gives_all_tries_back(clock: Clock) -> None:
    relay = lost(clock)
    for number in (1, 2, 3):
        relay.replace(number)
        relay.check(STEADY_SECONDS + 0.1)
        relay.endpoint.reset()
        assert asked(relay)[number] is True


def test_an_endpoint_that_is_gone_before_it_is_handed_over_leaves_the_client_waiting(clock: Clock) -> None:
    relay = lost(clock)
    relay.upstreams[1].transport = None
    relay.upstreams[1].open()
    assert not relay.client.transport.reading
    relay.check(1.1)
    relay.replace(2)
    assert relay.client.transport.reading


@pytest.mark.parametrize("when", ["between the tries", "during a try"])
def test_a_client_that_goes_away_meanwhile_ends_the_search(when: str, clock: Clock) -> None:
    relay = lost(clock)
    if when == "between the tries":
        relay.upstreams[1].fail("attempt.closed")
    relay.client.reset()
    assert (relay.done, relay.error) == (True, "tunnel.client_lost")
    assert relay.upstreams[1].finished == 1


@pytest.mark.parametrize("when", ["between the tries", "during a try"])
def test_a_close_meanwhile_ends_the_search_and_no_endpoint_takes_over(when: str, clock: Clock) -> None:
    relay = lost(clock)
    if when == "between the tries":
        relay.upstreams[1].fail("attempt.closed")
    relay.close(1012, "stop")
    assert relay.client.closed_with == (1012, "stop")
    relay.check(1.1)
    assert asked(relay) == [True, False, False, False]
    assert relay.upstreams[1].finished == 1
    relay.client.send(close_frame(1000))
    assert (relay.done, relay.error) == (True, None)


def test_a_message_that_one_endpoint_had_the_beginning_of_is_not_ended_at_another(clock: Clock) -> None:
    relay = Relay(clock=clock, upstreams=2, reconnect=TWO)
    relay.client.send(frame(1, b"begun", final=False))
    relay.endpoint.reset()
    relay.replace(1)
    relay.client.send(frame(0, b"ended"), frame(1, b"new"))
    assert relay.endpoint.frames() == [Frame(1, b"new")]


def test_within_a_message_to_the_client_nobody_can_take_over(clock: Clock) -> None:
    relay = Relay(clock=clock, upstreams=2, reconnect=TWO)
    relay.endpoint.send(frame(1, b"begun", final=False, mask=None))
    relay.endpoint.reset()
    assert asked(relay) == [False]
    assert relay.client.closed_with == (1011, "upstream_error")


def test_a_new_endpoint_waits_for_a_client_that_does_not_read(clock: Clock) -> None:
    relay = Relay(clock=clock, upstreams=2, reconnect=TWO)
    relay.client.stall()
    relay.endpoint.reset()
    relay.replace(1)
    relay.endpoint.send(frame(1, b"flood", mask=None))
    assert relay.client.frames() == []
    relay.client.resume()
    assert relay.client.frames() == [Frame(1, b"flood")]


def test_a_client_that_waited_for_a_full_endpoint_is_read_again_with_another(clock: Clock) -> None:
    relay = Relay(clock=clock, upstreams=2, reconnect=TWO, write=5.0, ping=None)
    relay.endpoint.stall()
    relay.client.send(frame(1, b"waits"))
    relay.endpoint.reset()
    relay.replace(1)
    assert relay.endpoint.frames() == [Frame(1, b"waits")]
    relay.check(5.1)
    assert relay.client.frames() == [], "the stall went with the endpoint"


def test_an_endpoint_that_was_cut_for_its_silence_is_forgotten_with_its_successor(clock: Clock) -> None:
    relay = Relay(clock=clock, upstreams=2, reconnect=TWO, ping=30.0, pong_timeout=5.0)
    relay.check(30.1)
    relay.client.send(frame(10))
    relay.check(5.1)
    relay.replace(1)
    relay.client.send(close_frame(1000))
    relay.endpoint.send(close_frame(1000, mask=None))
    assert (relay.done, relay.error) == (True, None)


def test_a_policy_that_took_too_long_closes_both_and_shows_nothing() -> None:
    relay = Relay()
    relay.x.fail(GatewayError("request.policy_timeout"))
    relay.settle()
    assert relay.client.closed_with == relay.endpoint.closed_with == (1011, "internal_error")
    relay.client.send(close_frame(1011))
    relay.endpoint.send(close_frame(1011, mask=None))
    assert (relay.done, relay.error) == (True, "request.policy_timeout")


DEFLATE = SWITCH.replace(b"\r\n\r\n", b"\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n")


def compressed(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_a_bomb_ends_both_sides_with_their_close_codes(clock: Clock) -> None:
    for index in (0, 1):
        relay = Relay(clock=clock, head=DEFLATE, limits=FrameLimits(message=1000))
        sender, receiver = both(relay)[index]
        mask = MASK if sender.is_client else None
        good = frame(2, compressed(b"y" * 1000), rsv=4, mask=mask)
        sender.send(good + frame(2, compressed(bytes(100_000_000)), rsv=4, mask=mask))
        assert sender.closed_with == (1009, "message_too_big")
        assert [each.opcode for each in receiver.frames()] == [2, 8]
        assert receiver.closed_with == ((1001, "client_gone") if sender.is_client else (1011, "upstream_error"))


def test_a_side_that_got_the_beginning_of_a_bomb_is_cut(clock: Clock) -> None:
    relay = Relay(clock=clock, head=DEFLATE, limits=FrameLimits(message=1000))
    bomb = frame(2, compressed(bytes(100_000_000)), rsv=4)
    relay.client.send(bomb[:20])
    assert bytes(relay.endpoint.transport.written) != b""
    relay.client.send(bomb[20:])
    assert relay.client.closed_with == (1009, "message_too_big")
    assert relay.endpoint.transport.closing
    assert len(relay.endpoint.transport.written) == 20
