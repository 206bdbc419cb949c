"""The last failures, by name."""

from __future__ import annotations

import pytest

from propylon.services.recent import KEPT, Recent, named, remembered


def of(*failures: str) -> Recent:
    recent: Recent = ()
    for failure in failures:
        recent = remembered(recent, failure)
    return recent


def test_only_a_few_are_kept() -> None:
    assert of(*"abcdefgh") == tuple("defgh")
    assert len(of(*"x" * 1000)) == KEPT


def test_one_without_a_name_is_not_kept() -> None:
    assert of("a", "", "b") == ("a", "b")


@pytest.mark.parametrize(
    ("failures", "count", "text"),
    [
        ("", 3, ""),
        ("a", 1, " (a)"),
        ("aab", 3, " (2x a, b)"),
        ("aab", 1, " (b)"),
        ("aabbb", 20, " (the last 5: 2x a, 3x b)"),
        ("aab", None, " (the last 3: 2x a, b)"),
    ],
)
def test_they_are_named_with_their_number(failures: str, count: int | None, text: str) -> None:
    assert named(of(*failures), count) == text
