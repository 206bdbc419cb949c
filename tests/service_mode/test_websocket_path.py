"""`?path=` of a WebSocket: what it becomes at the service, and what is refused."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.engine.response import Response
from propylon.http.target import KEEP_ALL, canonical_path
from propylon.service_mode.websocket_path import WebSocketPath
from tests.support.fakes import exchange, snapshot


def applied(query: bytes | None) -> bytes | Response:
    """Return the target for the service, or the answer."""
    x = exchange(snapshot(), path=b"/ws/users", query=query)
    response = WebSocketPath().on_request(x)
    if response is not None:
        return response
    assert x.rewritten
    return x.path if x.query is None else b"%b?%b" % (x.path, x.query)


@pytest.mark.parametrize(
    ("query", "target"),
    [
        (None, b"/"),
        (b"", b"/"),
        (b"other=1", b"/"),
        (b"path=", b"/"),
        (b"path=/chat", b"/chat"),
        (b"path=%2Fchat", b"/chat"),
        (b"path=/chat&token=secret", b"/chat"),
        (b"%70ath=/chat", b"/chat"),
        (b"path=%2Fp%3Fx%3D1", b"/p?x=1"),
        (b"path=/p?x=1", b"/p?x=1"),
        (b"path=%2Fp%3Fx%3D1%26y%3D%252F", b"/p?x=1&y=%2F"),
        (b"path=/p%3F", b"/p?"),
        (b"path=/a+b", b"/a%20b"),
        (b"path=/a%20b", b"/a%20b"),
        (b"path=/a%2520b", b"/a%20b"),
        (b"path=/raum%C3%BC", b"/raum%C3%BC"),
        (b"path=/p%3Fq%3D%C3%BC", b"/p?q=%C3%BC"),
        (b"path=/p%252Fq", b"/p%2Fq"),
        (b"path=/a//b", b"/a/b"),
        (b"path=/a%3Bb", b"/a;b"),
    ],
)
def test_a_path_goes_to_the_service(query: bytes | None, target: bytes) -> None:
    assert applied(query) == target


@pytest.mark.parametrize(
    "query",
    [
        b"path=//127.0.0.1:9/",
        b"path=%2F%2F127.0.0.1:9/",
        b"path=///x",
        b"path=ws://127.0.0.1:9/",
        b"path=http://127.0.0.1:9/",
        b"path=chat",
        b"path=?x=1",
        b"path=@127.0.0.1:9/",
        b"path=:9/",
        b"path=/..",
        b"path=/a/../b",
        b"path=/%252e%252e/b",
        b"path=/a/..%252fb",
        b"path=/..;/b",
        b"path=%5C%5Chost/",
        b"path=/a%5Cb",
        b"path=/a%255Cb",
        b"path=/a%00",
        b"path=/a%0D%0Ahost:b",
        b"path=/a%09b",
        b"path=/a%23b",
        b"path=/a%3Fb%23c",
        b"path=/a%3Fb%0D%0Ac",
        b"path=/%25",
        b"path=/%FF",
        b"path=/%C0%AF",
        b"path=/a&path=/b",
        b"path=/a&%70ath=/b",
    ],
)
def test_anything_else_is_refused(query: bytes) -> None:
    response = applied(query)
    assert isinstance(response, Response)
    assert response.status == 400
    assert isinstance(response.content, bytes)
    assert response.content.startswith(b'{"error":"invalid_path","message":"')


@given(st.binary())
def test_any_value_gives_a_canonical_path_or_a_refusal(value: bytes) -> None:
    found = applied(b"path=" + quote(value).encode())
    if isinstance(found, bytes):
        path, _, query = found.partition(b"?")
        assert canonical_path(path, KEEP_ALL) == path
        assert not path.startswith(b"//")
        assert all(0x21 <= byte <= 0x7E for byte in query)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="#?%\\")))
def test_a_path_is_kept(text: str) -> None:
    segment = "x" + text.replace("/", "").lstrip(".")
    found = applied(b"path=" + quote(f"/{segment}").encode())
    spelled = quote(segment, safe="!$&'()*+,=:@;[]")
    assert found == canonical_path(f"/{spelled}".encode(), KEEP_ALL)
