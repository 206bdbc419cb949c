"""What a service gets: line, Host, header section, body."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.request_out import PRESERVE, send_request
from propylon.routing.captures import Captures
from propylon.routing.query_edit import QueryEdit
from propylon.routing.rewrite import strip, template
from tests.support.fakes import TOLD, FakeEndpoint, FakeUpstream, exchange, snapshot

OWN = TOLD + b"x-request-id: id-1\r\n"


def sent(
    change: Callable[[Exchange], object] = lambda x: None,
    *,
    endpoint: dict[str, Any] | None = None,
    policies: tuple[object, ...] = (),
    route: dict[str, Any] | None = None,
    body: bytes | Body | None = None,
    **keys: Any,
) -> FakeUpstream:
    target = FakeEndpoint()
    for key, value in (endpoint or {}).items():
        setattr(target, key, value)
    x = exchange(snapshot(*policies, endpoint=target, route=route), **keys)
    x.snapshot.match(x)
    x.body = body
    change(x)
    upstream = FakeUpstream()
    x.start(_waiting(x))
    send_request(x, cast("Any", target), upstream, None)
    return upstream


async def _waiting(x: Exchange) -> None:
    await x.pause()


def test_the_host_is_the_endpoints_own_unless_it_is_configured() -> None:
    fields = b"Host: A.example:81\r\n"
    assert sent(fields=fields).block.startswith(b"host: 10.0.0.7:3001\r\n")
    assert sent(fields=fields, endpoint={"host": PRESERVE}).block.startswith(b"host: a.example:81\r\n")
    assert sent(fields=fields, endpoint={"host": b"fixed"}).block.startswith(b"host: fixed\r\n")
    assert sent(fields=b"", endpoint={"host": PRESERVE}).block.startswith(b"host: 10.0.0.7:3001\r\n")


def test_the_endpoints_base_path_stands_in_front() -> None:
    assert sent(endpoint={"base_path": b"/base"}, query=b"").line == b"GET /base/x?"
    assert sent(endpoint={"base_path": b"/base"}).line == b"GET /base/x"


def test_the_route_changes_path_and_query() -> None:
    route = {"rewrite": strip("/a"), "query_edit": QueryEdit({"k": "v"}, {}, ())}
    assert sent(route=route, path=b"/a/b").line == b"GET /b?k=v"


def test_a_path_that_a_policy_has_set_is_not_rewritten() -> None:
    route = {"rewrite": strip("/a")}
    assert sent(lambda x: x.set_path("/a/c"), route=route, path=b"/a/b").line == b"GET /a/c"


def test_a_rewrite_that_makes_no_path_is_the_requests_fault() -> None:
    rewrite = template("/v.{*}", Captures(rest=True))
    with pytest.raises(GatewayError) as caught:
        sent(lambda x: setattr(x, "path_rest", b"%"), route={"rewrite": rewrite})
    assert (caught.value.code, caught.value.status) == ("read.bad_target", 400)


def test_a_request_that_was_only_looked_at_is_sent_as_it_came() -> None:
    fields = b"Host: a\r\nX-B: 1\r\nX-A: 2\r\n"
    assert sent(lambda x: x.request.headers.get("x-a"), fields=fields).block == sent(fields=fields).block


@pytest.mark.parametrize(
    "spelling", ["Connection", "Transfer-Encoding", "Content-Length", "X-Request-Id", "Upgrade", "TE"]
)
def test_framing_and_hop_fields_that_a_policy_sets_are_not_sent(spelling: str) -> None:
    block = sent(lambda x: x.request.headers.set(spelling, "7")).block
    assert block == b"host: 10.0.0.7:3001\r\n" + OWN


def test_a_policy_may_set_the_host_and_what_the_gateway_tells() -> None:
    def change(x: Exchange) -> None:
        x.request.headers.set("Host", "other")
        x.request.headers.set("X-Forwarded-For", "unknown")

    assert sent(change).block == b"host: other\r\nX-Forwarded-For: unknown\r\nx-request-id: id-1\r\n"


def test_no_body_and_an_empty_one_are_two_things() -> None:
    assert sent(body=None).sent[0][-1] is None
    assert sent(body=b"").sent[0][-1] == b""


def test_a_body_that_policies_change_has_no_length() -> None:
    policy = SimpleNamespace(on_request_chunk=lambda x, data: data * 2)
    upstream = sent(policies=(policy,), body=b"ab", fields=b"host: a\r\ncontent-length: 2\r\n")
    assert upstream.sent[0][0] == "send_head"
    assert upstream.sent[0][-1] == -1
    assert upstream.request_body == b"abab"
    assert upstream.sent[-1] == ("end_body", [])


def test_a_request_without_body_asks_no_chunk_policy() -> None:
    policy = SimpleNamespace(on_request_chunk=lambda x, data: b"made up")
    assert sent(policies=(policy,)).sent[0][0] == "send"


def test_an_attempt_that_is_not_offered_the_body_ends_the_offer_to_an_earlier_one() -> None:
    body = Body(FakeUpstream(), 5)
    ended: list[object] = []
    body.offer = cast("Any", SimpleNamespace(withdraw=lambda: ended.append(body)))
    sent(body=body)
    assert ended == [body]
