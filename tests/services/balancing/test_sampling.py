"""Draws: two always differ, and the second is drawn as if the first were not there."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.services.balancing._sampling import Sampler
from tests.services.balancing.world import World

ALMOST_ONE = 1 - 2**-53


@given(
    st.lists(st.integers(1, 1000), min_size=2, max_size=8),
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, ALMOST_ONE]) | st.floats(0, ALMOST_ONE), min_size=2, max_size=2),
)
def test_two_always_differ(weights: list[int], luck: list[float]) -> None:
    numbers = iter(luck)
    sampler = Sampler(World().endpoints(*weights), lambda: next(numbers))
    first, second = sampler.two()
    assert first is not second


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 3), (5, 1, 1)])
def test_pairs_come_as_often_as_their_weights_say(weights: tuple[int, ...]) -> None:
    endpoints = World().endpoints(*weights)
    sampler = Sampler(endpoints, Random(1).random)
    counts = Counter(sampler.two() for _ in range(40_000))
    total = sum(weights)
    for first in endpoints:
        for second in endpoints:
            if first is not second:
                expected = first.weight / total * second.weight / (total - first.weight)
                assert counts[first, second] / 40_000 == pytest.approx(expected, abs=0.01)
