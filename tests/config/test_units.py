"""Durations and sizes as people write them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.config import units


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5.0),
        ("1m", 60.0),
        ("1h", 3600.0),
        ("1d", 86400.0),
        ("1.5s", 1.5),
        ("1 s", 1.0),
        ("5", 5.0),
        (5, 5.0),
        (0.5, 0.5),
        ("0s", 0.0),
        (0, 0.0),
    ],
)
def test_a_duration_is_read(written: Any, seconds: float) -> None:
    assert units.parse_duration(written) == seconds


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "not a duration"),
        ("fast", "not a duration"),
        ("5 s s", "not a duration"),
        ("1m30s", "not a duration"),
        ("1e3s", "not a duration"),
        ("\u0665s", "not a duration"),
        ("5 parsecs", "unknown unit 'parsecs'"),
        ("5M", "unknown unit 'M'"),
        ("-5s", "cannot be negative"),
        (-1, "cannot be negative"),
        ("99999d", "more than ten years"),
        (float("inf"), "more than ten years"),
        (float("nan"), "more than ten years"),
        ("9" * 5000, "not a duration"),
        (True, "not a duration"),
        (None, "not a duration"),
        ([5], "not a duration"),
    ],
)
def test_a_wrong_duration_says_what_is_wrong(written: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        units.parse_duration(written)


@pytest.mark.parametrize("written", ["none", None, 0, "0", "0s", "0ms", 0.0])
def test_an_optional_duration_is_switched_off(written: Any) -> None:
    assert units.parse_optional_duration(written) is None


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (0, 0),
        (1500, 1500),
        ("1500", 1500),
        ("12B", 12),
        ("10kB", 10_000),
        ("10MB", 10_000_000),
        ("64KiB", 65536),
        ("1.5KiB", 1536),
        ("1 GiB", 2**30),
        ("2TB", 2 * 10**12),
        ("2tib", 2 * 2**40),
    ],
)
def test_a_size_is_read(written: Any, size: int) -> None:
    assert units.parse_size(written) == size


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "not a size"),
        ("big", "not a size"),
        ("64k", "unknown unit 'k'"),
        ("1.5", "whole number of bytes"),
        ("0.0001KB", "whole number of bytes"),
        ("-1", "cannot be negative"),
        ("-1KiB", "cannot be negative"),
        (-1, "cannot be negative"),
        (2**63, "more than 8 EiB"),
        ("9000000000000TiB", "more than 8 EiB"),
        (1.5, "not a size"),
        (True, "not a size"),
        (None, "not a size"),
    ],
)
def test_a_wrong_size_says_what_is_wrong(written: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        units.parse_size(written)


@pytest.mark.parametrize("written", ["none", None, 0, "0", "0KiB"])
def test_an_optional_size_is_switched_off(written: Any) -> None:
    assert units.parse_optional_size(written) is None


ANYTHING = st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.integers()))


@given(ANYTHING)
def test_any_value_is_a_duration_or_a_value_error(value: Any) -> None:
    try:
        assert 0 <= units.parse_duration(value) <= units.MAX_DURATION_SECONDS
    except ValueError:
        pass


@given(ANYTHING)
def test_any_value_is_a_size_or_a_value_error(value: Any) -> None:
    try:
        assert 0 <= units.parse_size(value) <= units.MAX_SIZE_BYTES
    except ValueError:
        pass


@given(st.integers(0, 10**6), st.sampled_from([("ms", 1), ("s", 1000), ("m", 60_000)]))
def test_a_number_with_a_unit_is_that_many_units(number: int, unit: tuple[str, int]) -> None:
    assert units.parse_duration(f"{number}{unit[0]}") == pytest.approx(number * unit[1] / 1000)


@given(st.integers(0, 10**6), st.sampled_from([("B", 1), ("KB", 1000), ("KiB", 1024), ("MiB", 2**20)]))
def test_a_size_with_a_unit_is_that_many_units(number: int, unit: tuple[str, int]) -> None:
    assert units.parse_size(f"{number}{unit[0]}") == number * unit[1]


@pytest.mark.parametrize(
    ("written", "share"),
    [("20%", 0.2), ("0.5%", 0.005), ("20 %", 0.2), (" 20% ", 0.2), ("0%", 0.0), ("100%", 1.0)],
)
def test_a_percentage_is_read_as_a_share(written: Any, share: float) -> None:
    assert units.parse_percent(written) == pytest.approx(share)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("101%", "more than 100%"),
        ("20", "with its sign"),
        (20, "with its sign"),
        (0.2, "with its sign"),
        ("-1%", "with its sign"),
        ("1e1%", "with its sign"),
        ("nan%", "with its sign"),
        ("%", "with its sign"),
        ("", "with its sign"),
        ("9" * 5000 + "%", "with its sign"),
        (True, "with its sign"),
        (None, "with its sign"),
    ],
)
def test_a_wrong_percentage_says_what_to_write(written: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        units.parse_percent(written)


@given(ANYTHING)
def test_any_value_is_a_percentage_or_a_value_error(value: Any) -> None:
    try:
        assert 0 <= units.parse_percent(value) <= 1
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("written", "statuses"),
    [
        (503, {503}),
        ("503", {503}),
        ("500-502", {500, 501, 502}),
        ("502-502", {502}),
        ("2xx", set(range(200, 300))),
        ([502, "404", "500-501"], {404, 500, 501, 502}),
        ((503,), {503}),
        (["4xx", 404], set(range(400, 500))),
        ([], set()),
        (frozenset({500}), {500}),
        ("100", {100}),
        (599, {599}),
    ],
)
def test_statuses_are_read(written: Any, statuses: set[int]) -> None:
    assert units.parse_statuses(written) == statuses


@pytest.mark.parametrize(
    "written",
    ["", "9xx", "0xx", "5XX", "600", 99, 600, 50, "502-500", "500-", "-500", "5x", "500,502", " 503", True, None, 5.0,
     {}, ["503", None], "٥٠٣", [[503]]],
)  # fmt: skip
def test_a_wrong_status_says_what_to_write(written: Any) -> None:
    with pytest.raises(ValueError, match="is no status: write 503, 5xx or 500-504"):
        units.parse_statuses(written)


@given(ANYTHING)
def test_any_value_is_a_set_of_statuses_or_a_value_error(value: Any) -> None:
    try:
        assert all(100 <= status <= 599 for status in units.parse_statuses(value))
    except ValueError:
        pass
