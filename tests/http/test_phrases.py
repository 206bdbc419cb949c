"""Reason phrases: those of RFC 9110, whatever the version of Python knows."""

from __future__ import annotations

import pytest

from propylon.http.phrases import PHRASES


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (200, b"OK"),
        (302, b"Found"),
        (413, b"Content Too Large"),
        (414, b"URI Too Long"),
        (416, b"Range Not Satisfiable"),
        (421, b"Misdirected Request"),
        (422, b"Unprocessable Content"),
        (431, b"Request Header Fields Too Large"),
        (505, b"HTTP Version Not Supported"),
    ],
)
def test_a_phrase_is_the_registered_one(status: int, phrase: bytes) -> None:
    assert PHRASES[status] == phrase
