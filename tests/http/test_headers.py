"""Header sections as policies see them: case-insensitive, ordered, copied at the first change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.headers import Headers

SHARED = ((b"Accept", b"a"), (b"Set-Cookie", b"1"), (b"set-cookie", b"2"))

NAMES = st.text("abAB-_.!~19", min_size=1, max_size=3)
VALUES = st.text(
    st.characters(codec="latin-1", exclude_characters=[*map(chr, range(9)), *map(chr, range(10, 32)), "\x7f"])
)


def test_names_are_found_in_any_case_and_the_first_value_wins() -> None:
    headers = Headers(SHARED)
    assert headers.get("SET-cookie") == headers["Set-Cookie"] == "1"
    assert headers.get_all("set-COOKIE") == ["1", "2"]
    assert "accept" in headers
    assert "nope" not in headers
    assert 5 not in headers
    assert headers.get("nope") is None
    assert headers.get("nope", "x") == "x"
    assert len(headers) == 3
    assert list(headers) == ["Accept", "Set-Cookie", "set-cookie"]


def test_a_missing_name_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="nope"):
        Headers(SHARED)["nope"]


def test_reading_leaves_a_shared_section_unchanged() -> None:
    headers = Headers(SHARED)
    headers.get("accept")
    headers.get_all("accept")
    dict(headers.items())
    headers.remove("nope")
    assert headers.raw is SHARED
    assert not headers.changed


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: headers.set("x", "1"),
        lambda headers: headers.add("x", "1"),
        lambda headers: headers.remove("accept"),
        lambda headers: headers.__setitem__("x", "1"),
        lambda headers: headers.__delitem__("accept"),
    ],
    ids=["set", "add", "remove", "[]=", "del"],
)
def test_a_change_copies_a_shared_section(change: object) -> None:
    headers, other = Headers(SHARED), Headers(SHARED)
    change(headers)  # type: ignore[operator]
    assert headers.changed
    assert other.raw is SHARED
    assert len(SHARED) == 3


def test_set_replaces_every_value_in_any_case() -> None:
    headers = Headers(SHARED)
    headers.set("SET-COOKIE", "3")
    assert headers.get_all("set-cookie") == ["3"]
    assert list(headers.items()) == [("Accept", "a"), ("SET-COOKIE", "3")]


def test_add_keeps_what_there_is_and_the_order() -> None:
    headers = Headers(SHARED)
    headers.add("set-cookie", "3")
    headers.add("x", "4")
    assert headers.get_all("Set-Cookie") == ["1", "2", "3"]
    assert headers.raw[-1] == (b"x", b"4")


def test_remove_takes_every_value() -> None:
    headers = Headers(SHARED)
    headers.remove("sEt-CoOkIe")
    assert list(headers.items()) == [("Accept", "a")]


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "ä", "a\0", "(a)", "a\n"])
def test_rfc9110_5_1_a_name_that_is_no_token_is_refused(name: str) -> None:
    headers = Headers()
    for change in (headers.set, headers.add):
        with pytest.raises(ValueError, match="header name"):
            change(name, "v")
    with pytest.raises(ValueError, match="header name"):
        Headers({name: "v"})
    assert len(headers) == 0


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\n", "\ra", "a\0b", "\x7f", "a\x1bb", "\x0b"])
def test_rfc9110_5_5_a_control_character_in_a_value_is_refused(value: str) -> None:
    headers = Headers()
    for change in (headers.set, headers.add):
        with pytest.raises(ValueError, match="control character"):
            change("x", value)
    assert len(headers) == 0


def test_a_refused_value_is_not_repeated_in_the_message() -> None:
    with pytest.raises(ValueError, match="'x'") as caught:
        Headers().set("x", "s3cret\n")
    assert "s3cret" not in str(caught.value)


def test_text_beyond_latin_1_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="latin-1"):
        Headers().set("x", "€")


def test_looking_up_a_name_beyond_latin_1_finds_nothing() -> None:
    headers = Headers(SHARED)
    assert headers.get("€") is None
    assert headers.get_all("€") == []
    headers.remove("€")
    assert not headers.changed


def test_white_space_around_a_value_is_no_part_of_it() -> None:
    headers = Headers({"a": " \t1 2\t "})
    assert headers["a"] == "1 2"


def test_the_text_shows_every_field() -> None:
    assert repr(Headers(SHARED)) == "<Headers [('Accept', 'a'), ('Set-Cookie', '1'), ('set-cookie', '2')]>"


@given(st.lists(st.tuples(st.sampled_from(["set", "add", "remove"]), NAMES, VALUES), max_size=12))
def test_headers_behave_like_a_plain_list_of_pairs(changes: list[tuple[str, str, str]]) -> None:
    headers, model = Headers(()), list[tuple[str, str]]()
    for change, name, value in changes:
        if change != "add":
            model = [pair for pair in model if pair[0].lower() != name.lower()]
        if change == "remove":
            headers.remove(name)
        else:
            getattr(headers, change)(name, value)
            model.append((name, value.strip(" \t")))
        assert list(headers.items()) == model
        assert headers.get_all(name) == [v for n, v in model if n.lower() == name.lower()]
