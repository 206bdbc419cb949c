"""One side of a tunnel: what it makes of its transport's calls, and what it writes where a frame may begin."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from propylon.engine.websocket.end import End
from propylon.http.frames import FrameLimits, FrameReader
from propylon.http.websocket import Close
from propylon.transport.stream import TransportStream
from tests.support.fakes import FakeTransport
from tests.support.frames import MASK, Frame, close_frame, frame, read_frames

BYE = Close(4000, "bye")


class Told:
    """Takes the place of the tunnel: what it was told, by whom."""

    def __init__(self, **settings: Any) -> None:
        self.settings = SimpleNamespace(**({"max_buffered": None} | settings))
        self.calls: list[tuple[str, End]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda end, *_: self.calls.append((name, end))

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


class Owner:
    """The connection that was there before."""

    def __init__(self) -> None:
        self.errors: list[Exception | None] = []

    def connection_lost(self, error: Exception | None) -> None:
        self.errors.append(error)


def stream(
    transport: FakeTransport, owner: Owner, early: bytes = b"", *, stalled: bool = False, ended: bool = False
) -> TransportStream:
    return TransportStream(cast("Any", transport), cast("Any", owner), early, stalled=stalled, ended=ended)


class Side:
    """An end with its transport, and the end across."""

    def __init__(
        self,
        *,
        of_client: bool = True,
        stalled: bool = False,
        ended: bool = False,
        early: bytes = b"",
        **settings: Any,
    ) -> None:
        self.told = Told(**settings)
        self.end, self.across = self._made(of_client), self._made(not of_client)
        self.end.other, self.across.other = self.across, self.end
        self.transport, self.owner = FakeTransport(), Owner()
        self.end.attach(stream(self.transport, self.owner, early, stalled=stalled, ended=ended))
        self.far = FakeTransport()
        self.across.attach(stream(self.far, Owner()))

    def _made(self, of_client: bool) -> End:
        return End(cast("Any", self.told), FrameReader(of_client, b"", FrameLimits()), not of_client)

    def began(self) -> Side:
        self.end.begin()
        self.across.begin()
        return self

    def frames(self) -> list[Frame]:
        """What the peer was sent."""
        found, rest = read_frames(bytes(self.transport.written), masked=self.end.masks)
        assert rest == b""
        return found


def test_it_takes_the_place_of_what_was_there() -> None:
    side = Side(max_buffered=500)
    assert side.transport.protocol is side.end
    assert side.transport.high == 500
    assert repr(side.end) == "<End client open>"
    assert repr(side.across) == "<End endpoint open>"


def test_without_a_limit_the_transports_own_stays() -> None:
    assert Side().transport.high == 0


def test_what_came_meanwhile_is_passed_on_in_order() -> None:
    side = Side(ended=True, stalled=True, early=frame(1, b"early")).began()
    assert side.far.written == frame(1, b"early")
    assert side.told.calls == [("stalled", side.end), ("lost", side.end)]


def test_a_peer_that_reads_again_before_it_begins_has_not_stalled() -> None:
    side = Side(stalled=True)
    side.end.resume_writing()
    assert side.began().told.calls == []


def test_a_peer_that_stalls_before_it_begins_is_told_then() -> None:
    side = Side()
    side.end.pause_writing()
    assert side.told.calls == []
    assert side.began().told.calls == [("stalled", side.end)]


def test_a_connection_that_is_lost_before_it_begins_is_told_and_so_is_who_had_it() -> None:
    side = Side(early=b"ignored")
    error = ConnectionResetError()
    side.end.connection_lost(error)
    assert side.owner.errors == [error]
    assert ("lost", side.end) in side.began().told.calls
    side.end.write(b"nobody")
    assert side.transport.written == b""


def test_a_broken_frame_is_told_behind_what_was_right() -> None:
    side = Side().began()
    side.end.data_received(frame(1, b"good") + frame(3))
    assert side.far.written == frame(1, b"good")
    assert side.told.names() == ["protocol_error"]


def test_a_close_frame_is_passed_on_and_told_once() -> None:
    side = Side().began()
    side.end.data_received(close_frame(1000))
    side.end.data_received(frame(1, b"late"))
    assert side.far.written == close_frame(1000)
    assert side.told.names() == ["close_event"]


@pytest.mark.parametrize(
    ("closed", "answered", "tls", "stays"),
    [(True, False, False, True), (True, True, False, False), (False, False, False, False), (True, False, True, False)],
)
def test_only_who_waits_for_an_answer_may_half_close(closed: bool, answered: bool, tls: bool, stays: bool) -> None:
    side = Side().began()
    side.transport.can_write_eof = lambda: not tls  # type: ignore[method-assign]
    if closed:
        side.end.data_received(close_frame(1000))
    side.end.close_sent = answered
    assert side.end.eof_received() is stays
    assert ("lost" in side.told.names()) is not stays


# what is said


@pytest.mark.parametrize("of_client", [True, False])
def test_what_is_made_here_is_masked_towards_an_endpoint_only_and_never_twice_alike(of_client: bool) -> None:
    said = []
    for _ in range(2):
        side = Side(of_client=of_client).began()
        side.end.send_close(BYE)
        assert side.frames() == [Frame(8, b"\x0f\xa0bye")]
        assert side.end.close_sent
        said.append(bytes(side.transport.written))
    assert (said[0] == said[1]) is of_client


def test_it_is_said_once_and_mutes_the_other_side() -> None:
    side = Side().began()
    side.end.send_close(BYE)
    side.end.send_close(BYE)
    side.across.data_received(frame(1, b"late", mask=None))
    assert side.frames() == [Frame(8, b"\x0f\xa0bye")]


def test_it_waits_for_the_end_of_the_frame_under_way() -> None:
    side = Side().began()
    whole = frame(1, b"x" * 300, mask=None)
    side.across.data_received(whole[:9])
    side.end.send_close(BYE)
    side.end.send_pending_close()
    assert side.transport.written == whole[:9]
    side.across.data_received(whole[9:])
    assert side.told.names() == ["close_event"]
    side.end.send_pending_close()
    side.end.send_pending_close()
    assert side.frames()[1:] == [Frame(8, b"\x0f\xa0bye")]


def test_who_is_gone_is_told_nothing() -> None:
    side = Side().began()
    side.end.detach()
    side.end.send_close(BYE)
    assert side.transport.written == b""
    assert side.transport.closing
    assert repr(side.end) == "<End client gone>"


def test_a_frame_that_can_never_end_leaves_nothing_to_say() -> None:
    side = Side().began()
    side.across.data_received(frame(1, b"x" * 300, mask=None)[:9])
    side.across.detach()
    side.end.send_close(BYE)
    assert len(side.transport.written) == 9
    assert side.transport.closing
    assert not side.transport.aborted


def test_lingering_ends_our_direction_behind_the_close_frame() -> None:
    side = Side().began()
    whole = frame(1, b"x" * 300, mask=None)
    side.across.data_received(whole[:9])
    side.end.linger()
    side.end.send_close(BYE)
    assert not side.transport.eof
    side.across.data_received(whole[9:])
    side.end.send_pending_close()
    assert side.transport.eof
    assert not side.transport.closing
    side.end.write(b"would raise")


def test_lingering_without_halves_is_closing() -> None:
    side = Side().began()
    side.transport.can_write_eof = lambda: False  # type: ignore[method-assign]
    side.end.send_close(BYE)
    side.end.linger()
    assert side.transport.closing
    assert not side.transport.eof


# pings


@pytest.mark.parametrize("why", ["held", "stalled", "within a frame"])
def test_nobody_is_pinged_who_could_not_answer(why: str) -> None:
    side = Side().began()
    if why == "held":
        side.end.hold(side)
    elif why == "stalled":
        side.end.stall_at = 5.0
    else:
        side.across.data_received(frame(1, b"x" * 300, mask=None)[:9])
    before = bytes(side.transport.written)
    assert side.end.ping(b"12345678") is False
    assert side.transport.written == before


def test_a_ping_has_the_token_whose_pong_ends_here() -> None:
    side = Side().began()
    assert side.end.silent()
    assert side.end.ping(b"12345678")
    assert side.frames() == [Frame(9, b"12345678")]
    assert not side.end.active()
    side.end.data_received(frame(10, b"12345678"))
    assert side.far.written == b""
    assert side.end.active()
    assert not side.end.silent()
    assert side.end.silent()


# holds


def test_it_is_read_while_nobody_holds_it() -> None:
    side = Side().began()
    one, two = object(), object()
    side.end.hold(one)
    side.end.hold(two)
    side.end.release(one)
    side.end.release(object())
    assert not side.transport.reading
    assert side.end.held
    side.end.release(two)
    assert side.transport.reading
    side.end.hold(one)
    side.end.hold(two)
    side.end.release_all()
    assert side.transport.reading


def test_progress_is_what_has_left_since_it_was_asked_last() -> None:
    side = Side().began()
    side.transport.unsent = 100
    side.end.pause_writing()
    assert not side.end.progressed()
    side.transport.unsent = 99
    assert side.end.progressed()
    assert not side.end.progressed()


def test_whose_peer_is_gone_all_calls_do_nothing() -> None:
    side = Side().began()
    side.end.connection_lost(None)
    for call in (side.end.finish, side.end.abort, side.end.linger, side.end.detach, side.end.release_all):
        call()
    side.end.hold(side)
    side.end.release(side)
    assert not side.end.progressed()


def test_the_mask_of_a_client_stays_as_it_came() -> None:
    side = Side().began()
    side.end.data_received(frame(2, b"\0" * 8, mask=MASK))
    assert side.far.written == bytes((0x82, 0x88)) + MASK * 3
