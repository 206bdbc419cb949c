"""A cookie is found by its exact name, and the first of a name counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.cookies import COOKIE_NAME, COOKIE_PATH, cookie


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ([], None),
        ([b""], None),
        ([b"a=1"], b"1"),
        ([b"b=2; a=1"], b"1"),
        ([b"b=2;a=1;c=3"], b"1"),
        ([b" a = 1 ; b=2"], b"1"),
        ([b"b=2", b"a=1"], b"1"),
        ([b"a=1; a=2", b"a=3"], b"1"),
        ([b'a="1"'], b'"1"'),
        ([b"a=1=2"], b"1=2"),
        ([b"a="], b""),
        ([b"a"], None),
        ([b"xa=1; ax=2; b=a"], None),
        ([b"A=1"], None),
        ([b"b=a=1"], None),
        ([b";;;a=1"], b"1"),
    ],
)
def test_the_first_cookie_of_the_name_counts(fields: list[bytes], value: bytes | None) -> None:
    assert cookie(fields, b"a") == value


TEXT = st.text("abcXYZ019._~-", min_size=1).map(str.encode)


@given(st.dictionaries(TEXT, TEXT, min_size=1), TEXT)
def test_what_is_written_is_read(cookies: dict[bytes, bytes], name: bytes) -> None:
    field = b"; ".join(b"%b=%b" % pair for pair in cookies.items())
    assert cookie([field], name) == cookies.get(name)


@given(st.lists(st.binary(max_size=50), max_size=3), TEXT)
def test_any_bytes_are_read_without_an_error(fields: list[bytes], name: bytes) -> None:
    value = cookie(fields, name)
    assert value is None or any(value in field for field in fields)


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a=b", "a\r\nb", "ä", '"a"'])
def test_what_is_no_name_is_known(name: str) -> None:
    assert not COOKIE_NAME.fullmatch(name)


@pytest.mark.parametrize("path", ["", "a", "/a;b", "/a b", "/a\r\nb", "/ä"])
def test_what_is_no_path_is_known(path: str) -> None:
    assert not COOKIE_PATH.fullmatch(path)


def test_usual_names_and_paths_are_accepted() -> None:
    assert COOKIE_NAME.fullmatch("__Host-propylon_sticky")
    assert COOKIE_PATH.fullmatch("/a/b%20c:d")
