"""The exchange: what policies see and change of it, and what it gives back when it is over."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest

from propylon.engine.errors import GatewayError
from propylon.engine.timing import Timeouts
from tests.support.fakes import FakeEndpoint, exchange, fake_service, snapshot


def test_what_is_over_has_no_deadline_and_carries_out_what_was_deferred() -> None:
    done: list[str] = []
    x = exchange()
    x.arm(1.0, "head.timeout")
    x.defer(lambda: done.append("a"))
    x.defer(lambda: done.append("b"))
    x.settle()
    assert done == ["a", "b"]
    assert x.deadline == inf
    assert x.finished


# what policies use


def test_the_request_is_made_when_it_is_asked_for() -> None:
    x = exchange(method=b"POST", query=b"a=1", fields=b"Host: A.example:81\r\nx: 1\r\n")
    assert x.changed_request is None
    request = x.request
    assert x.request is request is x.changed_request
    assert (request.method, request.path, request.query, request.host) == ("POST", "/x", "a=1", "a.example")
    assert (request.scheme, request.client, request.query_value("a")) == ("http", "192.0.2.1", "1")
    assert request.headers["X"] == "1"
    assert x.request_id == "id-1"
    assert x.client_address == b"192.0.2.1"
    x.state["k"] = 1
    assert x.state == {"k": 1}


def test_a_header_that_belongs_to_the_gateway_is_no_condition() -> None:
    x = exchange(fields=b"host: a\r\nX-Forwarded-For: 1.2.3.4\r\nx-a: 1\r\n")
    assert x.header(b"x-a") == b"1"
    assert x.header(b"x-forwarded-for") is None
    assert x.header(b"nope") is None


def test_timeouts_change_only_what_is_named() -> None:
    x = exchange()
    x.set_timeouts(response=2.0, total=None)
    assert x.timeouts == Timeouts(connect=5.0, response=2.0, idle=60.0, total=None)
    assert x.snapshot.timeouts == Timeouts()


@pytest.mark.parametrize(
    ("fields", "body", "refused"),
    [
        (b"content-length: 10\r\n", None, False),
        (b"content-length: 11\r\n", None, True),
        (b"transfer-encoding: chunked\r\n", b"x" * 10, False),
        (b"transfer-encoding: chunked\r\n", b"x" * 11, True),
        (b"transfer-encoding: chunked\r\n", None, False),
    ],
)
def test_a_limit_refuses_what_is_known_to_be_larger(fields: bytes, body: bytes | None, refused: bool) -> None:
    x = exchange(fields=fields)
    x.body = body
    if refused:
        with pytest.raises(GatewayError) as caught:
            x.limit_body(10)
        assert caught.value.code == "request.body_too_large"
    else:
        x.limit_body(10)
    assert x.body_limit == 10


def test_an_endpoint_is_chosen_among_those_of_the_service() -> None:
    x = exchange()
    with pytest.raises(ValueError, match=r"."):
        x.choose("http://10.0.0.7:3001")
    endpoint = FakeEndpoint()
    x.service = fake_service(endpoint)
    x.choose("http://10.0.0.7:3001")
    assert x.pinned is endpoint  # type: ignore[comparison-overlap]
    with pytest.raises(ValueError, match=r"http://evil"):
        x.choose("http://evil")


def test_an_exchange_keeps_the_snapshot_it_began_with() -> None:
    first = snapshot()
    assert exchange(first).snapshot is first


def test_a_place_in_a_service_is_given_back_once_whoever_gives_it_back() -> None:
    left: list[GatewayError | None] = []
    x = exchange()
    x.gate = cast("Any", SimpleNamespace(leave=lambda x, error: left.append(error)))
    error = GatewayError("head.timeout")
    x.leave_gate(error)
    x.settle()
    assert left == [error]
