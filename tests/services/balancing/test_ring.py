"""The ring of hashes: the same everywhere, fair, and little changed by a change."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon.services.balancing._ring import Ring
from propylon.services.endpoint import Endpoint
from tests.services.balancing.world import World, an_endpoint

KEYS = [b"key-%d" % number for number in range(4000)]


def ring(endpoints: list[Endpoint]) -> Ring:
    made = Ring()
    made.update(endpoints)
    return made


def owners(made: Ring) -> list[Endpoint]:
    return [next(made.walk(key)) for key in KEYS]


def test_keys_go_to_the_same_endpoint_in_every_process() -> None:
    code = (
        "from tests.services.balancing.test_ring import *;"
        "print([each.url for each in owners(ring(World().endpoints(1, 2, 3)))])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{[each.url for each in owners(ring(World().endpoints(1, 2, 3)))]}\n"}


def test_a_known_key_stays_where_it_is_from_version_to_version() -> None:
    endpoints = World().endpoints(*[1] * 10)
    made = ring(endpoints)
    assert [endpoints.index(next(made.walk(key))) for key in (b"alice", b"bob", b"carol", b"dave")] == [3, 4, 4, 5]


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (4, 2, 1, 1), (100, 100, 50, 10)])
def test_shares_follow_the_weights(weights: tuple[int, ...]) -> None:
    endpoints = World().endpoints(*weights)
    counts = Counter(owners(ring(endpoints)))
    for endpoint in endpoints:
        assert counts[endpoint] / len(KEYS) == pytest.approx(endpoint.weight / sum(weights), rel=0.35)


@pytest.mark.parametrize("weights", [(1,) * 10, (10, 10, 10, 1, 5), (7, 3, 2)])
def test_only_the_keys_of_one_that_goes_move_and_they_come_back(weights: tuple[int, ...]) -> None:
    endpoints = World().endpoints(*weights)
    made = ring(endpoints)
    before = owners(made)
    gone = endpoints[-1]
    made.update(endpoints[:-1])
    after = owners(made)
    assert gone not in after
    assert all(now is then for now, then in zip(after, before, strict=True) if then is not gone)
    assert len({now for now, then in zip(after, before, strict=True) if then is gone}) > 1  # they are spread
    made.update(endpoints)
    assert owners(made) == before


def test_one_that_comes_takes_its_share_of_the_keys_and_no_other_moves() -> None:
    endpoints = World().endpoints(*[1] * 20)
    made = ring(endpoints)
    before = owners(made)
    new = an_endpoint(99)
    made.update([new, *endpoints])
    moved = [now for now, then in zip(owners(made), before, strict=True) if now is not then]
    assert set(moved) == {new}
    assert len(moved) / len(KEYS) == pytest.approx(1 / 21, rel=0.4)


def test_the_order_of_the_endpoints_does_not_matter() -> None:
    endpoints = World().endpoints(1, 2, 3, 4)
    assert owners(ring(endpoints)) == owners(ring(endpoints[::-1]))


@given(st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=8, unique=True), min_size=1, max_size=8), st.data())
@settings(max_examples=50, deadline=None)
def test_nothing_of_the_past_is_left_on_the_ring(changes: list[list[int]], data: st.DataObject) -> None:
    known = World().endpoints(*[1] * 8)
    made = Ring()
    for change in changes:
        for number in change:
            known[number].weight = data.draw(st.sampled_from([1, 2, 10, 1000]))
        made.update([known[number] for number in change])
    fresh = ring([known[number] for number in changes[-1]])
    for key in KEYS[:20]:
        assert list(made.walk(key)) == list(fresh.walk(key))


def test_endless_changes_do_not_use_up_the_room_for_indexes() -> None:
    endpoints = World().endpoints(*[1] * 4)
    made = ring(endpoints)
    for _ in range(50):
        made.update(endpoints[:2])
        made.update(endpoints)
    assert sorted(made._owners) == [0, 1, 2, 3]


def test_a_walk_goes_around_once_and_meets_everybody() -> None:
    endpoints = World().endpoints(*[1] * 7)
    walked = list(ring(endpoints).walk(b"key"))
    assert set(walked) == set(endpoints)
    assert Counter(walked) == dict.fromkeys(endpoints, 128)
