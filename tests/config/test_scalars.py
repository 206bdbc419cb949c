"""Plain scalars by the core schema of YAML 1.2, section 10.3.2."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.config.scalars import resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("nUll", "nUll"),
        ("true", True),
        ("FALSE", False),
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("y", "y"),
        ("0777", 777),
        ("0o777", 511),
        ("0x1F", 31),
        ("0b1", "0b1"),
        ("-12", -12),
        ("+12", 12),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5e-1", -0.05),
        ("1.2.3", "1.2.3"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("inf", "inf"),
        ("nan", "nan"),
        ("2026-01-01", "2026-01-01"),
        ("<<", "<<"),
        ("=", "="),
        ("٣", "٣"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_scalar_has_the_type_of_yaml_1_2(text: str, value: Any) -> None:
    resolved = resolve(text)
    assert resolved == value
    assert type(resolved) is type(value)


def test_not_a_number_is_a_float() -> None:
    assert math.isnan(float(str(resolve(".nan"))))


@given(st.text())
def test_any_text_has_a_value(text: str) -> None:
    resolve(text)


@given(st.integers(-(10**18), 10**18))
def test_a_written_integer_is_itself(number: int) -> None:
    assert resolve(str(number)) == number
