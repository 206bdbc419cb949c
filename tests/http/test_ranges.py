"""Byte ranges: every range that is given is inside of the representation, and is what the text says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.ranges import Range, UnsatisfiableRange, parse_range


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, None),
        ("", None),
        ("bytes=0-0", Range(0, 0)),
        ("Bytes=0-0", Range(0, 0)),
        ("bytes=2-", Range(2, 9)),
        ("bytes=2-100", Range(2, 9)),
        ("bytes=-4", Range(6, 9)),
        ("bytes=-40", Range(0, 9)),
        ("bytes=-", None),
        ("bytes=4-2", None),
        ("bytes=1-2,4-5", None),
        ("bytes=1 -2", None),
        ("bytes=\u0661-2", None),
        ("bytes=" + "9" * 400 + "-", None),
        ("items=0-1", None),
    ],
)
def test_of_ten_bytes(value: str | None, found: Range | None) -> None:
    assert parse_range(value, 10) == found


@pytest.mark.parametrize(("value", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)])
def test_beyond_the_end(value: str, size: int) -> None:
    with pytest.raises(UnsatisfiableRange):
        parse_range(value, size)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_it_is_inside(first: int, last: int, size: int) -> None:
    try:
        found = parse_range(f"bytes={first}-{last}", size)
    except UnsatisfiableRange:
        assert first >= size
        return
    if last < first:
        assert found is None
    else:
        assert found is not None
        assert bytes(size)[found.first : found.last + 1] == bytes(size)[first : last + 1]
        assert found.content_range(size) == f"bytes {first}-{found.first + found.length - 1}/{size}"
