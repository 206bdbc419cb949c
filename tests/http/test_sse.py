"""Where events end, however a stream is cut: compared with a reader that goes byte by byte through lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.sse import BOM, COMMENT, HEARTBEAT, EventBoundaries, is_event_stream

STREAMS = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"data: x", b":", b"a", BOM, BOM[:1], BOM[:2], b"\xbf"]), max_size=14
).map(b"".join)


def event_ends(stream: bytes) -> list[int]:
    """Every position behind an empty line (WHATWG HTML 9.2.6); an LF behind a CR still belongs to that line's end."""
    position = len(BOM) if stream.startswith(BOM) else 0
    ends = []
    while position < len(stream):
        begun = position
        while position < len(stream) and stream[position] not in b"\r\n":
            position += 1
        if position == len(stream):
            break
        empty = position == begun
        position += 2 if stream[position : position + 2] == b"\r\n" else 1
        if empty:
            ends.append(position)
    return ends


def dispatched(stream: bytes) -> list[tuple[bytes, ...]]:
    """The events a client sees: the lines of each block that are no comments, if one of them is data."""
    text = stream.removeprefix(BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events: list[tuple[bytes, ...]] = []
    lines: list[bytes] = []
    for line in text.split(b"\n")[:-1]:
        if not line:
            if any(each.startswith(b"data") for each in lines):
                events.append(tuple(lines))
            lines = []
        elif not line.startswith(b":"):
            lines.append(line)
    return events


def cuts(stream: bytes) -> list[list[bytes]]:
    """The stream whole, cut in two at every byte, and byte by byte."""
    halves = [[stream[:at], stream[at:]] for at in range(1, len(stream))]
    return [[stream], *halves, [bytes([byte]) for byte in stream]] if stream else []


@given(STREAMS)
def test_event_ends_are_found_whatever_the_cuts(stream: bytes) -> None:
    expected = event_ends(stream)
    for pieces in cuts(stream):
        boundaries = EventBoundaries()
        assert boundaries.at_event_end
        position = last = 0
        for piece in pieces:
            found = boundaries.feed(piece)
            if found:
                last = position + found
            position += len(piece)
            seen = event_ends(stream[:position])
            assert last == max([0, *seen]), (pieces, position)
            nothing_begun = position == 0 or (position == len(BOM) and stream.startswith(BOM))
            assert boundaries.at_event_end == (nothing_begun or position in seen), (pieces, position)
        if expected:
            assert last == expected[-1]


@given(STREAMS)
def test_a_comment_changes_nothing_wherever_a_line_has_ended(stream: bytes) -> None:
    for pieces in cuts(stream):
        boundaries = EventBoundaries()
        made = b""
        for piece in pieces:
            boundaries.feed(piece)
            made += piece
            if boundaries.at_line_end:
                made += COMMENT
        assert dispatched(made) == dispatched(stream), pieces


@given(STREAMS)
def test_a_heartbeat_changes_nothing_wherever_an_event_has_ended(stream: bytes) -> None:
    for pieces in cuts(stream):
        boundaries = EventBoundaries()
        made = b""
        for piece in pieces:
            boundaries.feed(piece)
            made += piece
            if boundaries.at_event_end:
                made += HEARTBEAT
        assert dispatched(made) == dispatched(stream), pieces


@pytest.mark.parametrize(
    ("piece", "line_end", "event_end"),
    [
        (b"data: x\n\n", True, True),
        (b"data: x\r\n\r\n", True, True),
        (b"data: x\r\r", True, True),
        (b"data: x\n", True, False),
        (b"data: x\r\n", True, False),
        (b"data: x\r", False, False),
        (b"data: x", False, False),
        (BOM[:2], False, False),
        (BOM, True, True),
    ],
)
def test_where_a_stream_stands(piece: bytes, line_end: bool, event_end: bool) -> None:
    boundaries = EventBoundaries()
    boundaries.feed(piece)
    assert (boundaries.at_line_end, boundaries.at_event_end) == (line_end, event_end)
    assert boundaries.begun


@pytest.mark.parametrize(
    "value", [b"text/event-stream", b"Text/Event-Stream", b"text/event-stream;charset=utf-8", b"text/event-stream ; a"]
)
def test_an_event_stream_is_told_by_its_type(value: bytes) -> None:
    assert is_event_stream(value)


@pytest.mark.parametrize("value", [b"", b"text/plain", b"text/event-stream2", b"x; text/event-stream"])
def test_nothing_else_is_an_event_stream(value: bytes) -> None:
    assert not is_event_stream(value)
