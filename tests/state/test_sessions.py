"""Sessions in memory: remembered while they are used, bounded, and not kept by their names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.state.sessions import MemorySessions, Sessions
from tests.support.clock import HeldClock


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(100.0)


def test_a_session_is_known_until_it_has_not_been_used_for_a_while(clock: HeldClock) -> None:
    sessions: Sessions = MemorySessions(clock, idle=10)
    assert sessions.find(b"a") is None
    sessions.bind(b"a", "one")
    for _ in range(5):
        clock.now += 9.9
        assert sessions.find(b"a") == "one"
    clock.now += 10
    assert sessions.find(b"a") is None
    assert sessions.find(b"a") is None


def test_the_last_target_counts(clock: HeldClock) -> None:
    sessions = MemorySessions(clock, idle=10)
    sessions.bind(b"a", "one")
    sessions.bind(b"a", "two")
    assert sessions.find(b"a") == "two"
    assert len(sessions) == 1


def test_a_full_table_forgets_what_was_used_least_recently(clock: HeldClock) -> None:
    sessions = MemorySessions(clock, idle=10, max_entries=2)
    sessions.bind(b"a", "one")
    sessions.bind(b"b", "two")
    assert sessions.find(b"a") == "one"
    sessions.bind(b"c", "three")
    assert [sessions.find(name) for name in (b"a", b"b", b"c")] == ["one", None, "three"]


def test_what_is_idle_makes_room_without_being_asked_for(clock: HeldClock) -> None:
    sessions = MemorySessions(clock, idle=10)
    for number in range(5):
        sessions.bind(b"%d" % number, "one")
        clock.now += 4
    assert len(sessions) == 3


def test_names_are_not_kept(clock: HeldClock) -> None:
    sessions = MemorySessions(clock, idle=10)
    sessions.bind(b"secret" * 1000, "one")
    assert [len(key) for key in sessions._entries] == [16]


@given(st.lists(st.tuples(st.binary(max_size=2), st.sampled_from(["bind", "find", "wait"]))))
def test_it_is_never_larger_than_its_bound_and_never_wrong(steps: list[tuple[bytes, str]]) -> None:
    clock = HeldClock()
    sessions, last = MemorySessions(clock, idle=3, max_entries=4), {}
    for name, step in steps:
        clock.now += step == "wait"
        if step == "bind":
            last[name] = str(name)
            sessions.bind(name, str(name))
        elif step == "find":
            assert sessions.find(name) in (None, last.get(name))
        assert len(sessions) <= 4
