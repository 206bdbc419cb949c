"""A store in memory: values have their time, counters count, and nothing makes it grow without bound."""

from __future__ import annotations

import pytest

from propylon.state.memory import ENTRY_BYTES, MemoryStore
from propylon.state.store import Store
from tests.support.clock import HeldClock


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(100.0)


async def test_a_value_is_there_until_its_time_is_over(clock: HeldClock) -> None:
    store: Store = MemoryStore(clock)
    assert await store.get("a") is None
    await store.set("a", b"1", ttl=5)
    await store.set("b", b"2")
    clock.now += 4.9
    assert await store.get("a") == b"1"
    clock.now += 0.1
    assert await store.get("a") is None
    assert await store.get("b") == b"2"
    await store.delete("b")
    await store.delete("b")
    assert await store.get("b") is None
    assert repr(store) == "<MemoryStore 0 entries, 0 bytes>"


async def test_a_counter_has_its_time_from_its_first_count(clock: HeldClock) -> None:
    store = MemoryStore(clock)
    assert [await store.add("a", ttl=10), await store.add("a", 5, ttl=10)] == [1, 6]
    clock.now += 9
    assert await store.add("a", -2, ttl=10) == 4
    clock.now += 1
    assert await store.add("a", ttl=10) == 1
    assert await store.get("a") == b"1"
    await store.set("a", b"text")
    with pytest.raises(ValueError, match="text"):
        await store.add("a")


async def test_what_was_written_longest_ago_makes_room(clock: HeldClock) -> None:
    store = MemoryStore(clock, max_entries=3)
    for key in "abc":
        await store.set(key, b"")
    await store.set("a", b"again")
    await store.set("d", b"")
    assert [key for key in "abcd" if await store.get(key) is not None] == ["a", "c", "d"]


async def test_bytes_are_bounded_too(clock: HeldClock) -> None:
    store = MemoryStore(clock, max_bytes=3 * (ENTRY_BYTES + 11))
    for key in "abcd":
        await store.set(key, b"x" * 10)
    assert [key for key in "abcd" if await store.get(key) is not None] == ["b", "c", "d"]
    await store.set("d", b"x" * 21)
    assert [key for key in "abcd" if await store.get(key) is not None] == ["c", "d"]
    await store.set("d", b"x" * 10_000)
    assert [key for key in "abcd" if await store.get(key) is not None] == ["c"]
