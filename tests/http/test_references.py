"""References in fields of a response, found without changing a byte around them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.references import REFERENCES, ReferenceParts, parts_of, with_reference


@pytest.mark.parametrize(
    ("name", "value", "changed"),
    [
        (b"location", b"/a?b#c", b"</a?b#c>"),
        (b"location", b"", b"<>"),
        (b"content-location", b"http://h/a", b"<http://h/a>"),
        (b"refresh", b"5; url=/a", b"5; url=</a>"),
        (b"refresh", b"5;URL='/a'", b"5;URL='</a>'"),
        (b"refresh", b'0, "/a"', b'0, "</a>"'),
        (b"refresh", b"5", b"5"),
        (b"uri", b"<http://h/a>", b"<<http://h/a>>"),
        (b"uri", b"/a", b"</a>"),
    ],
)
def test_the_reference_of_a_field_is_found(name: bytes, value: bytes, changed: bytes) -> None:
    assert with_reference(name, value, lambda reference: b"<%b>" % reference) == changed


@given(st.sampled_from(sorted(REFERENCES)), st.binary(max_size=40))
def test_what_is_not_changed_keeps_every_byte(name: bytes, value: bytes) -> None:
    assert with_reference(name, value, lambda reference: reference) == value


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        (b"HTTP://h:81/a?b#c", ReferenceParts(b"http", b"h:81", b"/a", b"?b#c")),
        (b"//h", ReferenceParts(b"", b"h", b"", b"")),
        (b"https://h?x", ReferenceParts(b"https", b"h", b"", b"?x")),
        (b"/a/b?c", ReferenceParts(b"", None, b"/a/b", b"?c")),
        (b"/", ReferenceParts(b"", None, b"/", b"")),
        (b"a/b", None),
        (b"?a", None),
        (b"", None),
        (b"mailto:a@b", None),
        (b"/\\h/a", None),
        (b"http://h\\@other/a", None),
    ],
)
def test_a_reference_is_split_or_is_relative_to_the_request(reference: bytes, parts: ReferenceParts | None) -> None:
    assert parts_of(reference) == parts
