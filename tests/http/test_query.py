"""Queries: read decoded, edited without touching a byte of the rest (RFC 3986 3.4)."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http import query

QUERIES = st.none() | st.lists(
    st.sampled_from([b"a=1", b"a", b"b=%41", b"%61=2", b"", b"a=b=c", b"x+y=1", b"%zz"])
).map(b"&".join)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        (b"a=1&a=2", b"a", b"1"),
        (b"%61=1", b"a", b"1"),
        (b"a", b"a", b""),
        (b"a=", b"a", b""),
        (b"a=b=c", b"a", b"b=c"),
        (b"x+y=p+q%2B", b"x y", b"p q+"),
        (b"b=1", b"a", None),
        (b"a=%zz", b"a", b"%zz"),
        (b"&&", b"", None),
        (b"", b"a", None),
        (None, b"a", None),
    ],
)
def test_get_decodes_the_first_value(text: bytes | None, name: bytes, value: bytes | None) -> None:
    assert query.get(text, name) == value


def test_all_values_are_found_in_order() -> None:
    assert query.get_all(b"a=1&b=2&%61=3", b"a") == [b"1", b"3"]
    assert query.items(b"a=1&&b") == [(b"a", b"1"), (b"b", b"")]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (b"x=%7e&a=1&y=+&a=2&&z", b"x=%7e&a=new%20value&y=+&&z"),
        (b"x", b"x&a=new%20value"),
        (b"", b"a=new%20value"),
        (None, b"a=new%20value"),
    ],
)
def test_set_replaces_in_place(text: bytes | None, result: bytes) -> None:
    assert query.edit(text, {b"a": query.piece(b"a", b"new%20value")}, (), ()) == result


def test_add_appends_and_remove_leaves_no_mark() -> None:
    assert query.edit(b"a=1", {}, (query.piece(b"a", b"%26%3D"),), ()) == b"a=1&a=%26%3D"
    assert query.edit(b"a=1&b=%2f&%61=2", {}, (), (b"a",)) == b"b=%2f"
    assert query.edit(b"a=1", {}, (), (b"a",)) is None
    assert query.edit(b"", {}, (), (b"a",)) == b""


@given(QUERIES, st.binary(min_size=1, max_size=4), st.binary(max_size=4))
def test_edits_touch_nothing_else(text: bytes | None, name: bytes, value: bytes) -> None:
    others = [pair for pair in query.items(text) if pair[0] != name]
    piece = query.piece(name, quote(value, safe="").encode())
    edited = query.edit(text, {name: piece}, (), ())
    assert query.get_all(edited, name) == [value]
    assert [pair for pair in query.items(edited) if pair[0] != name] == others
    assert query.items(query.edit(text, {}, (), (name,))) == others
    assert query.items(query.edit(text, {}, (piece,), ())) == [*query.items(text), (name, value)]


@given(QUERIES)
def test_an_edit_that_finds_nothing_changes_no_byte(text: bytes | None) -> None:
    assert query.edit(text, {}, (), (b"absent",)) == text
