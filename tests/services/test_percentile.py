"""The running percentile: right on skewed latencies, and it follows a change."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.services.percentile import Percentile

HALF_A_BUCKET = 1.05**0.5


def of(values: list[float], q: float = 0.95, **settings: int) -> Percentile:
    percentile = Percentile(q, **settings)
    for value in values:
        percentile.add(value)
    return percentile


def exact(values: list[float], q: float = 0.95) -> float:
    return sorted(values)[int(q * len(values))]


def test_it_tells_nothing_until_there_are_enough_samples() -> None:
    percentile = of([0.1] * 19)
    assert percentile.value() is None
    percentile.add(0.1)
    assert percentile.value() == pytest.approx(0.1, rel=0.025)


DISTRIBUTIONS: dict[str, Callable[[Random], float]] = {
    "log-normal": lambda random: random.lognormvariate(-4, 1),
    "exponential": lambda random: random.expovariate(50),
    "pareto": lambda random: 0.005 * random.paretovariate(1.5),
    "uniform": lambda random: random.uniform(0.01, 0.02),
    "one in ten is slow": lambda random: random.gauss(1.0, 0.05) if random.random() < 0.1 else 0.01,
}


@pytest.mark.parametrize("q", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_it_is_within_half_a_bucket_of_what_was_counted(name: str, q: float) -> None:
    random = Random(1)
    values = [DISTRIBUTIONS[name](random) for _ in range(3000)]
    value = of(values, q).value()
    assert value is not None
    ranks = sorted(values)
    low, high = ranks[int(q * 3000) - 3], ranks[int(q * 3000) + 3]
    assert low / HALF_A_BUCKET * 0.999 <= value <= high * HALF_A_BUCKET * 1.001


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_in_the_long_run_it_is_within_a_few_percent_of_the_distributions(name: str) -> None:
    random = Random(2)
    draw = DISTRIBUTIONS[name]
    truth = exact([draw(random) for _ in range(200_000)])
    percentile, errors = of([draw(random) for _ in range(4000)]), []
    for n in range(40_000):
        percentile.add(draw(random))
        if n % 100 == 0:
            value = percentile.value()
            assert value is not None
            errors.append(abs(value / truth - 1))
    assert sum(errors) / len(errors) < 0.05
    assert max(errors) < 0.25


@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_it_follows_a_change(factor: float) -> None:
    random = Random(3)
    before = [random.lognormvariate(-4, 0.5) for _ in range(20_000)]
    percentile = of(before, samples=500)
    first = percentile.value()
    for value in before[:5000]:
        percentile.add(value * factor)
    assert first is not None
    assert percentile.value() == pytest.approx(first * factor, rel=0.15)


def test_latencies_beyond_its_range_count_as_its_ends() -> None:
    assert of([0.0, -1.0, 1e-9] * 10).value() == pytest.approx(0.0001, rel=0.025)
    assert of([1e9] * 30).value() == pytest.approx(100.0, rel=0.05)


@given(
    st.lists(st.floats(0.0002, 90), min_size=20, max_size=300),
    st.sampled_from([0.1, 0.5, 0.95]),
    st.lists(st.integers(1, 300), max_size=5),
)
def test_it_does_not_matter_when_it_was_asked_before(values: list[float], q: float, asked: list[int]) -> None:
    percentile = Percentile(q, samples=50)
    for n, value in enumerate(values):
        percentile.add(value)
        if n in asked:
            percentile.value()
    assert percentile.value() == of(values, q, samples=50).value()
