"""Preconditions (RFC 9110, section 13): each row of 13.2.2, and fields that are to be ignored."""

from __future__ import annotations

import pytest

from propylon import Headers
from propylon.http.conditional import Validators, parse_date, precondition, range_applies

NOW = Validators('"a"', 784111777)
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"


@pytest.mark.parametrize("text", [DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])
def test_the_three_forms_of_a_date(text: str) -> None:
    assert parse_date(text) == NOW.modified


@pytest.mark.parametrize(
    "text", ["", "0", "tomorrow", "Sun, 06 Nov 1994 08:49:37 +0000", "Sun, 99 Nov 1994 08:49:37 GMT"]
)
def test_no_date(text: str) -> None:
    assert parse_date(text) is None


def test_last_modified_is_written_as_it_is_read() -> None:
    assert NOW.last_modified == DATE
    assert Validators().last_modified == ""


@pytest.mark.parametrize(
    ("fields", "get", "put"),
    [
        ({}, 200, 200),
        ({"if-none-match": '"a"'}, 304, 412),
        ({"if-none-match": 'W/"a"'}, 304, 412),
        ({"if-none-match": '"x,y", "a"'}, 304, 412),
        ({"if-none-match": "*"}, 304, 412),
        ({"if-none-match": '"b"'}, 200, 200),
        ({"if-none-match": '"b"', "if-modified-since": DATE}, 200, 200),
        ({"if-modified-since": DATE}, 304, 200),
        ({"if-modified-since": AFTER}, 304, 200),
        ({"if-modified-since": BEFORE}, 200, 200),
        ({"if-modified-since": "nonsense"}, 200, 200),
        ({"if-match": '"a"'}, 200, 200),
        ({"if-match": "*"}, 200, 200),
        ({"if-match": 'W/"a"'}, 412, 412),
        ({"if-match": '"b"'}, 412, 412),
        ({"if-match": '"a"', "if-unmodified-since": BEFORE}, 200, 200),
        ({"if-match": '"b"', "if-none-match": '"a"'}, 412, 412),
        ({"if-unmodified-since": BEFORE}, 412, 412),
        ({"if-unmodified-since": DATE}, 200, 200),
        ({"if-unmodified-since": "nonsense"}, 200, 200),
    ],
)
def test_preconditions(fields: dict[str, str], get: int, put: int) -> None:
    assert precondition("GET", Headers(fields), NOW) == get
    assert precondition("HEAD", Headers(fields), NOW) == get
    assert precondition("PUT", Headers(fields), NOW) == put


def test_a_weak_tag_never_matches_strongly() -> None:
    weak = Validators('W/"a"')
    assert precondition("GET", Headers({"if-match": 'W/"a"'}), weak) == 412
    assert precondition("GET", Headers({"if-none-match": '"a"'}), weak) == 304


@pytest.mark.parametrize(
    ("condition", "applies"),
    [(None, True), ('"a"', True), ('"b"', False), ('W/"a"', False), (DATE, False), ("x", False)],
)
def test_if_range(condition: str | None, applies: bool) -> None:
    assert range_applies(Headers({} if condition is None else {"if-range": condition}), NOW) is applies
