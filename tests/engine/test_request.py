"""The request as policies see and change it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from tests.support.fakes import FakeUpstream, exchange


@pytest.mark.parametrize("method", ["", "A B", "CONNECT", "TRACE", "ä"])
def test_a_method_that_a_policy_sets_can_be_sent_or_is_refused(method: str) -> None:
    x = exchange()
    x.request.method = "PUT"
    with pytest.raises(ValueError, match="no method"):
        x.request.method = method
    assert x.method == b"PUT"


def test_a_path_that_a_policy_sets_is_canonical_or_refused() -> None:
    x = exchange()
    x.request.path = "/a//b%41"
    assert x.path == b"/a/bA"
    assert x.rewritten
    for bad in ("a", "/../x", "/a b", "/%zz", "/a\r\nb", "/a?b", "/ä", ""):
        with pytest.raises(ValueError, match=r"."):
            x.request.path = bad
    assert x.path == b"/a/bA"


def test_a_query_that_could_end_the_request_line_is_refused() -> None:
    x = exchange()
    x.request.query = "a=%20&b"
    assert x.query == b"a=%20&b"
    for bad in ("a b", "a\r\n", "a#b", "a\x7f", "ä"):
        with pytest.raises(ValueError, match="query"):
            x.request.query = bad
    x.request.query = None
    assert x.query is None


# bodies


async def test_a_body_that_was_read_still_goes_to_the_service() -> None:
    x = exchange()
    x.body = Body.of(b"abc")
    assert await x.request.body() == b"abc"
    assert x.body == b"abc"  # type: ignore[comparison-overlap]
    assert await x.request.body() == b"abc"


@pytest.mark.parametrize("make", [Body.of, bytes], ids=["stream", "whole"])
async def test_a_body_beyond_what_a_policy_reads_is_413(make: Callable[[bytes], Body | bytes]) -> None:
    x = exchange()
    x.body = make(b"12345")
    with pytest.raises(GatewayError) as caught:
        await x.request.body(limit=4)
    assert caught.value.status == 413


@pytest.mark.parametrize("body", [None, b""], ids=["none", "empty"])
async def test_no_body_reads_as_empty(body: bytes | None) -> None:
    x = exchange()
    x.body = body
    assert await x.request.body() == b""
    assert [piece async for piece in x.request.stream()] in ([], [b""])


async def test_a_streamed_body_is_consumed() -> None:
    x = exchange()
    x.body = Body.of(b"abc")
    assert b"".join([piece async for piece in x.request.stream()]) == b"abc"
    assert x.body == b""  # type: ignore[comparison-overlap]


async def test_a_replaced_body_drops_what_still_comes() -> None:
    x = exchange()
    stream = x.body = Body(FakeUpstream())
    stream.feed(b"abc")
    x.request.replace_body(b"new")
    assert x.body == b"new"
    stream.feed(b"def")
    assert stream.held() == b""


@pytest.mark.parametrize("data", ["text", None, bytearray(b"x")])
def test_a_replaced_body_is_bytes(data: Any) -> None:
    x = exchange()
    x.body = b"old"
    with pytest.raises(TypeError, match="bytes"):
        x.request.replace_body(data)
    assert x.body == b"old"
