"""Edits of Set-Cookie fields: what is not edited keeps every byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.set_cookie import CookieEdit, cookie_name


@pytest.mark.parametrize(
    ("edit", "cookie", "expected"),
    [
        (CookieEdit(paths={b"/api": b""}), b"a=1; path=/api/x", b"a=1; Path=/x"),
        (CookieEdit(paths={b"/api": b""}), b"a=1; Path=/api", b"a=1; Path=/"),
        (CookieEdit(paths={b"/api": b""}), b"a=1; Path=/apix", b"a=1; Path=/apix"),
        (CookieEdit(paths={b"": b"/app"}), b"a=1; Path=/", b"a=1; Path=/app"),
        (CookieEdit(paths={b"": b"/app", b"/x": b"/y"}), b"a=1; Path=/x/z", b"a=1; Path=/y/z"),
        (CookieEdit(domains={b"in.example": b"out.example"}), b"a=1; Domain=.In.example", b"a=1; Domain=out.example"),
        (CookieEdit(domains={b"in.example": None}), b"a=1; Domain=in.example; Secure", b"a=1; Secure"),
        (CookieEdit(domains={b"in.example": b"x"}), b"a=1; Domain=other", b"a=1; Domain=other"),
        (CookieEdit(any_domain=None), b"a=1;domain=other", b"a=1"),
        (CookieEdit(flags={b"secure": True}), b"a=1; SECURE ;x", b"a=1;x; Secure"),
        (CookieEdit(flags={b"httponly": False}), b"a=1; HttpOnly; Path=/", b"a=1; Path=/"),
        (CookieEdit(same_site=b"Lax"), b"a=1; samesite=None", b"a=1; SameSite=Lax"),
        (CookieEdit(paths={b"": b"/app"}), b"__Host-a=1; Path=/", b"__Host-a=1; Path=/"),
        (CookieEdit(any_domain=b"x"), b"a=Domain=y", b"a=Domain=y"),
    ],
)
def test_an_attribute_is_changed(edit: CookieEdit, cookie: bytes, expected: bytes) -> None:
    assert edit.apply(cookie) == expected


@given(st.binary(max_size=60))
def test_an_edit_of_nothing_keeps_every_byte(cookie: bytes) -> None:
    assert CookieEdit().apply(cookie) == cookie


@pytest.mark.parametrize(("cookie", "name"), [(b" a = 1; b=2", b"a"), (b"a", b"a"), (b"", b""), (b"=x", b"")])
def test_the_name_of_a_cookie(cookie: bytes, name: bytes) -> None:
    assert cookie_name(cookie) == name
