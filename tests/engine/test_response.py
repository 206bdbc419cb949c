"""Responses as policies make and change them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from propylon.engine.body import Body
from propylon.engine.response import Response
from tests.support.fakes import FakeUpstream, exchange


@pytest.mark.parametrize("status", [0, 100, 199, 600, "200", None])
def test_a_status_is_a_final_one(status: Any) -> None:
    with pytest.raises(ValueError, match="200 to 599"):
        Response(status)
    response = Response(204)
    with pytest.raises(ValueError, match="200 to 599"):
        response.status = status
    assert response.status == 204


@pytest.mark.parametrize(
    ("made", "content", "kind"),
    [
        (Response(), b"", None),
        (Response(body=b"x"), b"x", None),
        (Response(body="ä"), "ä".encode(), "text/plain; charset=utf-8"),
        (Response(body="<p>", content_type="text/html"), b"<p>", "text/html"),
        (Response(body="<p>", headers={"Content-Type": "text/html"}), b"<p>", "text/html"),
        (Response(json={"a": 1}), b'{"a":1}', "application/json"),
        (Response(json=[], content_type="application/problem+json"), b"[]", "application/problem+json"),
    ],
)
def test_a_body_is_sent_as_what_it_is(made: Response, content: bytes, kind: str | None) -> None:
    assert (made.content, made.headers.get("content-type")) == (content, kind)
    assert made.replaced
    assert made.head is None


@pytest.mark.parametrize("body", [None, 5, {"a": 1}, [b"x"]])
def test_a_body_of_another_type_is_refused(body: Any) -> None:
    with pytest.raises(TypeError, match="for values use json="):
        Response(body=body)


async def test_a_body_can_be_read_as_often_as_one_likes() -> None:
    response = Response(body=b"abc")
    response._body = Body.of(b"abc")
    assert [await response.body(), await response.body()] == [b"abc", b"abc"]
    assert response.content == b"abc"


def test_a_replaced_body_drops_what_described_the_old_one() -> None:
    old = {"ETag": "x", "Content-Encoding": "gzip", "Content-Range": "bytes 0-1/2", "Content-Type": "text/a; charset=b"}
    response = Response(206, body=b"ab", headers={**old, "x-kept": "1"})
    response.replace_body("ä")
    assert (response.status, response.content) == (200, "ä".encode())
    assert response.headers.raw == [(b"x-kept", b"1"), (b"content-type", b"text/a; charset=utf-8")]
    response.replace_body(b"{}", content_type="application/json")
    assert response.headers["content-type"] == "application/json"


def test_a_replaced_body_drops_what_still_comes() -> None:
    stream = Body(FakeUpstream())
    response = Response()
    response._body = stream
    response.replace_body(b"new")
    stream.feed(b"old")
    assert (stream.held(), response.content) == (b"", b"new")


@pytest.mark.parametrize("data", [None, 5, bytearray(b"x")])
def test_a_body_is_replaced_by_bytes_or_text(data: Any) -> None:
    response = Response(body=b"old")
    with pytest.raises(TypeError, match="bytes or text"):
        response.replace_body(data)
    assert response.content == b"old"


async def test_a_shared_response_is_not_changed_by_its_copies() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"

    shared = Response(403, body="no", headers={"x-a": "1"})
    copy = shared.of_exchange(exchange())
    copy.status = 200
    copy.headers.set("x-a", "2")
    copy.replace_body(b"yes")
    assert (shared.status, shared.headers["x-a"], shared.content) == (403, "1", b"no")
    streamed = Response(body=pieces())
    assert not streamed.bound
    assert streamed.of_exchange(exchange()).bound
