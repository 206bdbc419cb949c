"""Whether a request is where a redirect leads."""

from __future__ import annotations

import pytest

from propylon.http.forwarded import Origin
from propylon.http.place import Place


@pytest.mark.parametrize(
    ("place", "there"),
    [
        (Place(), True),
        (Place(b"https"), True),
        (Place(b"http"), False),
        (Place(host=b"a.example"), True),
        (Place(host=b"a.example:443"), True),
        (Place(host=b"a.example:80"), False),
        (Place(host=b"b.example"), False),
        (Place(path=b"/x"), True),
        (Place(path=b"/x/"), False),
        (Place(b"https", b"a.example", b"/x"), True),
        (Place(b"https", b"a.example", b"/y"), False),
    ],
)
def test_a_place_is_compared_by_what_it_names(place: Place, there: bool) -> None:
    assert place.is_of(Origin(b"192.0.2.1", b"https", b"a.example", b""), b"/x") is there
    assert place.is_of(Origin(b"192.0.2.1", b"https", b"a.example:443", b""), b"/x") is there


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place(b"https", b"a", b"/x"), "https://a/x"),
        (Place(b"https"), "https"),
        (Place(host=b"a", path=b"/"), "a/"),
        (Place(), ""),
    ],
)
def test_a_place_is_shown_as_the_part_of_a_url(place: Place, text: str) -> None:
    assert str(place) == text
