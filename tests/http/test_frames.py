"""Where frames begin and end: everything right passes to the byte, however it is cut; everything wrong is refused."""

from __future__ import annotations

import os
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon.http.frames import FrameLimits, FrameReader
from propylon.http.permessage_deflate import DeflateParameters, InflatedSize
from propylon.http.websocket import ABNORMAL, TOO_BIG, Close, WebSocketError
from tests.support.frames import MASK, close_frame, frame

NO_LIMITS = FrameLimits()
DEFLATE = b"permessage-deflate; client_max_window_bits=15"


def client(extensions: bytes = b"", limits: FrameLimits = NO_LIMITS) -> FrameReader:
    return FrameReader(True, extensions, limits)


def endpoint(extensions: bytes = b"") -> FrameReader:
    return FrameReader(False, extensions, NO_LIMITS)


def refused(reader: FrameReader, data: bytes) -> WebSocketError:
    with pytest.raises(WebSocketError) as caught:
        reader.feed(data)
    return caught.value


# what passes

control = st.builds(frame, st.sampled_from([9, 10]), st.binary(max_size=125))
small = st.binary(max_size=300)
large = st.sampled_from([125, 126, 127, 65535, 65536, 70000]).map(lambda size: b"x" * size)


@st.composite
def message(draw: st.DrawFn) -> list[bytes]:
    """The frames of one message, control frames in between."""
    pieces = draw(st.lists(small | large, min_size=1, max_size=4))
    frames: list[bytes] = []
    for number, piece in enumerate(pieces):
        opcode = draw(st.sampled_from([1, 2])) if number == 0 else 0
        frames.append(frame(opcode, piece, final=number == len(pieces) - 1))
        frames += draw(st.lists(control, max_size=1))
    return frames


conversations = st.lists(message(), max_size=5)


@settings(deadline=None)
@given(conversations, st.data())
def test_what_is_right_passes_to_the_byte_however_it_is_cut(messages: list[list[bytes]], data: st.DataObject) -> None:
    whole = b"".join(piece for each in messages for piece in each)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    reader = client()
    passed = b"".join(
        reader.feed(whole[start:stop]) for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True)
    )
    assert passed == whole
    assert (reader.messages, reader.bytes) == (len(messages), len(whole))
    assert reader.between_messages
    assert reader.close is None


def test_byte_by_byte_a_payload_flows_and_only_headers_wait() -> None:
    reader = client()
    passed = [reader.feed(bytes((byte,))) for byte in frame(1, b"hello") + frame(9, b"ok")]
    assert passed == [b""] * 5 + [frame(1, b"hello")[:6]] + [bytes((byte,)) for byte in frame(1, b"hello")[6:]] + [
        b""
    ] * 7 + [frame(9, b"ok")]


def test_a_frame_under_way_is_told() -> None:
    reader = client()
    reader.feed(frame(1, b"hello", final=False)[:-1])
    assert (reader.between_frames, reader.between_messages) == (False, False)
    reader.feed(frame(1, b"hello", final=False)[-1:])
    assert (reader.between_frames, reader.between_messages) == (True, False)
    reader.feed(frame(0, b""))
    assert (reader.between_frames, reader.between_messages) == (True, True)


def test_an_endpoint_does_not_mask() -> None:
    data = frame(2, b"x" * 64, mask=None) + frame(1, b"y" * 200, mask=None)
    assert endpoint().feed(data) == data


# what does not


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size", [0, 5, 125, 126, 70000])
def test_who_must_mask_does_and_nobody_else(masked: bool, size: int) -> None:
    error = refused(FrameReader(masked, b"", NO_LIMITS), frame(1, b"x" * size, mask=None if masked else MASK))
    assert (error.code, error.detail) == (1002, "frame is not masked" if masked else "frame is masked")


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_unknown_opcodes_are_refused(opcode: int) -> None:
    assert refused(client(), frame(opcode, b"x")).code == 1002


@pytest.mark.parametrize("rsv", range(1, 8))
def test_reserved_bits_belong_to_extensions(rsv: int) -> None:
    data = frame(1, b"x", rsv=rsv)
    assert refused(client(), data).code == 1002
    if rsv == 4:
        assert client(DEFLATE).feed(data) == data
    else:
        assert refused(client(DEFLATE), data).code == 1002
    assert client(b"x-other").feed(data) == data


def test_rsv1_of_deflate_is_for_the_first_frame_of_a_message() -> None:
    assert refused(client(DEFLATE), frame(1, b"a", final=False, rsv=4) + frame(0, b"b", rsv=4)).code == 1002
    assert refused(client(DEFLATE), frame(9, b"a", rsv=4)).code == 1002


@pytest.mark.parametrize("opcode", [8, 9, 10])
def test_control_frames_are_short_and_whole(opcode: int) -> None:
    assert refused(client(), frame(opcode, b"x" * 126)).code == 1002
    assert refused(client(), frame(opcode, b"", final=False)).code == 1002


def test_fragments_belong_to_one_message() -> None:
    assert refused(client(), frame(0, b"x")).code == 1002
    assert refused(client(), frame(1, b"x", final=False) + frame(2, b"y")).code == 1002


@pytest.mark.parametrize(
    "head",
    [
        bytes((0x81, 0xFE)) + (125).to_bytes(2, "big"),
        bytes((0x81, 0xFF)) + (65535).to_bytes(8, "big"),
        bytes((0x82, 0xFF)) + (2**63).to_bytes(8, "big"),
        bytes((0x82, 0xFF)) + b"\xff" * 8,
    ],
)
def test_lengths_are_short_and_no_negative_number(head: bytes) -> None:
    assert refused(client(), head).code == 1002


def test_the_largest_length_is_counted_down() -> None:
    reader = client()
    head = bytes((0x82, 0xFF)) + (2**63 - 1).to_bytes(8, "big") + MASK
    assert reader.feed(head + b"x") == head + b"x"
    assert not reader.between_frames


def test_what_was_right_before_an_error_is_passed_on() -> None:
    good = frame(1, b"first") + frame(2, b"second" * 50)
    error = refused(client(), good + frame(3, b"bad") + frame(1, b"never"))
    assert error.passed == good


@pytest.mark.parametrize("cut", range(1, 12))
def test_an_error_is_found_wherever_the_data_is_cut(cut: int) -> None:
    good = frame(1, b"hello")
    reader = client()
    passed = reader.feed(good[:cut])
    assert passed + refused(reader, good[cut:] + frame(11)).passed == good


# limits


def test_a_frame_may_be_as_large_as_its_limit() -> None:
    data = frame(1, b"x" * 200)
    assert client(limits=FrameLimits(frame=200)).feed(data) == data
    error = refused(client(limits=FrameLimits(frame=199)), data[:8])
    assert (error.code, error.detail, error.passed) == (1009, "message_too_big", b"")


def test_a_message_is_counted_over_its_frames() -> None:
    limits = FrameLimits(message=10)
    fits = frame(1, b"x" * 6, final=False) + frame(0, b"y" * 4)
    assert client(limits=limits).feed(fits + fits) == fits + fits
    error = refused(client(limits=limits), frame(1, b"x" * 6, final=False) + frame(0, b"y" * 5))
    assert error.code == 1009
    assert error.passed == frame(1, b"x" * 6, final=False)


@pytest.mark.parametrize("size", [4, 5])
def test_tiny_limits_hold_for_short_frames_too(size: int) -> None:
    reader = client(limits=FrameLimits(message=4))
    if size == 4:
        assert reader.feed(frame(1, b"x" * size))
    else:
        assert refused(reader, frame(1, b"x" * size)).code == 1009


# close frames, pongs, muting


def test_a_close_frame_passes_and_nothing_behind_it() -> None:
    reader = client()
    data = frame(1, b"last") + close_frame(4000, "bye")
    assert reader.feed(data + frame(1, b"more")) == data
    assert reader.close == Close(4000, "bye")
    assert reader.event
    assert reader.feed(frame(1, b"more")) == b""


@pytest.mark.parametrize("code", [1005, 1006, 1015, 999])
def test_a_close_frame_with_a_code_it_may_not_have_is_refused(code: int) -> None:
    assert refused(client(), close_frame(code)).code == 1002


def test_the_gateways_own_pong_ends_here_and_others_pass() -> None:
    reader = client()
    reader.token = b"12345678"
    before, after = frame(1, b"before"), frame(10, b"other") + frame(1, b"after")
    assert reader.feed(before + frame(10, b"12345678") + after) == before + after
    assert reader.feed(frame(10, b"12345678")) == b""
    assert reader.feed(after) == after


def test_a_pong_within_a_fragmented_message_is_taken_out() -> None:
    reader = client()
    reader.token = b"12345678"
    one, two = frame(1, b"one", final=False), frame(0, b"two")
    assert reader.feed(one + frame(10, b"12345678") + two[:7]) == one + two[:7]
    assert reader.feed(two[7:]) == two[7:]


def test_a_muted_reader_ends_its_frame_and_passes_no_other() -> None:
    reader = client()
    data = frame(2, b"x" * 200)
    assert reader.feed(data[:50]) == data[:50]
    reader.mute()
    assert reader.feed(data[50:] + frame(1, b"more") + frame(1, b"y" * 300)[:9]) == data[50:]
    assert reader.event
    assert reader.between_frames  # of what is passed on, though another frame is under way
    assert reader.feed(frame(1, b"y" * 300)[9:] + close_frame(1000)) == b""
    assert reader.close == Close(1000)


def test_a_muted_reader_between_frames_passes_nothing() -> None:
    reader = client()
    reader.mute()
    assert reader.feed(frame(1, b"short")) == b""
    assert reader.feed(frame(1, b"x" * 500)) == b""


def test_a_reader_that_ignores_its_peer_takes_anything() -> None:
    reader = client()
    refused(reader, frame(3))
    reader.ignore()
    assert reader.feed(b"\xff" * 1000) == b""
    assert reader.close == Close(ABNORMAL)


@settings(deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_whatever_comes_is_passed_or_refused_and_the_cut_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    assert outcome(data, []) == outcome(data, sorted(min(cut, len(data)) for cut in cuts))


def outcome(data: bytes, cuts: list[int]) -> tuple[bytes, int | None]:
    reader, passed = client(DEFLATE), b""
    try:
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            passed += reader.feed(data[start:stop])
    except WebSocketError as error:
        return passed + error.passed, error.code
    return passed, None


# compressed messages, measured as they are for their receiver


def packed(*messages: bytes) -> list[bytes]:
    """What a peer with context makes of messages."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return [(packer.compress(each) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4] for each in messages]


def metered(limit: int, *, masked: bool = True, frame_limit: int | None = None) -> FrameReader:
    side = "client" if masked else "server"
    limits = FrameLimits(message=limit, frame=frame_limit)
    return FrameReader(masked, b"permessage-deflate", limits, InflatedSize(limit, DeflateParameters({}), side))


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("step", [1, 3, 100, 10**6])
def test_compressed_messages_are_measured_inflated(masked: bool, step: int) -> None:
    mask = MASK if masked else None
    texts = [b"x" * 1000, os.urandom(1000), b"", b"x" * 900, b"y" * 1001]
    bodies = packed(*texts)
    frames = [frame(2, body, rsv=4, mask=mask) for body in bodies]
    half = len(bodies[3]) // 2
    frames[3] = frame(2, bodies[3][:half], rsv=4, mask=mask, final=False) + frame(9, b"p", mask=mask)
    frames[3] += frame(0, bodies[3][half:], mask=mask, final=False) + frame(0, b"", mask=mask)
    frames.insert(2, frame(2, b"z" * 1000, mask=mask))
    good, bad = b"".join(frames[:-1]), frames[-1]
    reader, passed = metered(1000, masked=masked), b""
    for at in range(0, len(good), step):
        passed += reader.feed(good[at : at + step])
    assert passed == good
    with pytest.raises(WebSocketError, match=f"{TOO_BIG} message_too_big"):
        b"".join(reader.feed(bad[at : at + step]) for at in range(0, len(bad), step))


def test_uncompressed_messages_have_the_limit_as_ever_and_frames_theirs() -> None:
    reader = metered(1000, frame_limit=500)
    assert reader.feed(frame(1, b"hi"))
    (body,) = packed(os.urandom(600))
    with pytest.raises(WebSocketError):
        reader.feed(frame(2, body, rsv=4))
    with pytest.raises(WebSocketError):
        metered(1000).feed(frame(1, b"x" * 1001))


def test_nothing_of_a_bomb_that_came_in_one_read_is_passed_on() -> None:
    reader, (bomb,) = metered(1000), packed(bytes(1_000_000))
    good = frame(1, b"before")
    with pytest.raises(WebSocketError) as caught:
        reader.feed(good + frame(2, bomb, rsv=4))
    assert caught.value.passed == good
    reader.ignore()
    assert reader.between_frames
    assert not reader.cut_off


def test_a_bomb_whose_beginning_was_passed_on_leaves_half_a_frame() -> None:
    reader, (bomb,) = metered(1000), packed(b"x" * 500 + bytes(1_000_000))
    whole = frame(2, bomb, rsv=4)
    assert reader.feed(whole[:12]) == whole[:12]
    with pytest.raises(WebSocketError) as caught:
        reader.feed(whole[12:])
    assert caught.value.passed == b""
    reader.ignore()
    assert reader.cut_off
    assert reader.feed(frame(1, b"more")) == b""


def test_a_muted_reader_measures_nothing() -> None:
    reader, (bomb,) = metered(1000), packed(bytes(1_000_000))
    reader.mute()
    assert reader.feed(frame(2, bomb, rsv=4)) == b""
