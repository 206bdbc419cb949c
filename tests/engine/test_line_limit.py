"""Lines that any client can cause: bounded in number and in memory, and what was left out is told."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from propylon.engine.line_limit import LINES, SECONDS, LineLimit
from tests.support.clock import HeldClock


def limit() -> tuple[LineLimit, HeldClock]:
    clock = HeldClock()
    return LineLimit(clock), clock


def test_the_first_lines_of_a_kind_are_written_and_the_others_counted() -> None:
    lines, clock = limit()
    assert [lines.admits("a") for _ in range(LINES + 3)] == [True] * LINES + [False] * 3
    assert lines.admits("b")
    assert lines.ended(clock.now) == []
    assert lines.due == clock.now + SECONDS
    clock.now += SECONDS
    assert lines.ended(clock.now) == [("a", 3)]
    assert lines.due == inf
    assert lines.admits("a")


def test_a_kind_below_the_limit_has_nothing_to_tell() -> None:
    lines, clock = limit()
    assert all(lines.admits("a") for _ in range(LINES))
    clock.now += SECONDS
    assert lines.due == inf
    assert lines.ended(clock.now) == []
    assert all(lines.admits("a") for _ in range(LINES))


def test_none_is_written_before_those_left_out_are_told() -> None:
    lines, clock = limit()
    for _ in range(LINES + 1):
        lines.admits("a")
    clock.now += 2 * SECONDS
    assert not lines.admits("a")
    assert lines.ended(clock.now) == [("a", 2)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5)), max_size=200))
def test_every_line_is_written_or_counted_and_kinds_are_all_that_is_kept(events: list[tuple[str, float]]) -> None:
    lines, clock = limit()
    written = told = 0
    for kind, pause in events:
        clock.now += pause
        told += sum(count for _, count in lines.ended(clock.now))
        written += lines.admits(kind)
        assert len(lines._kinds) <= 3
    told += sum(count for _, count in lines.ended(inf))
    assert written + told == len(events)
