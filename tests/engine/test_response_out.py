"""Responses that are not passed on as they came: framing stays right whatever policies do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

import pytest

from propylon import Response
from propylon.engine import clock as clock_module
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.response_out import answer_failure, send
from propylon.http.response_head import ResponseHead
from tests.support.fakes import OK, FakeClient, FakeEndpoint, FakeUpstream, attempt_on, exchange

OWN = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\nx-request-id: id-1\r\n"


@pytest.fixture(autouse=True)
def _dated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "time", lambda: 0)
    monkeypatch.setattr(clock_module, "_second", -1)


def sent(response: Response, method: bytes = b"GET") -> FakeClient:
    client = FakeClient()
    send(exchange(client=client, method=method), response)
    return client


def of_service(
    head: bytes, body: bytes | Body, change: Callable[[Response], object] = lambda response: None
) -> Response:
    response = Response.of_service(ResponseHead(head), body)
    change(response)
    return response


def under_way(*pieces: bytes) -> Body:
    body = Body(FakeUpstream())
    for piece in pieces:
        body.feed(piece)
    return body


def lengths(block: bytes) -> list[bytes]:
    return [
        line.partition(b":")[2].strip() for line in block.split(b"\r\n") if line.lower().startswith(b"content-length")
    ]


def test_an_answer_of_the_gateways_own_has_date_id_and_length() -> None:
    assert sent(Response(200, body=b"abc", headers={"x-a": "1"})).calls == [
        ("send", 200, b"x-a: 1\r\ncontent-length: 3\r\n" + OWN, b"abc")
    ]


def test_the_id_is_kept_from_the_client_if_a_policy_says_so() -> None:
    client = FakeClient()
    x = exchange(client=client)
    x.shows_request_id = False
    send(x, Response(204))
    assert b"x-request-id" not in client.heads[0][1]


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Connection", "X-Request-Id", "Keep-Alive"])
def test_framing_fields_that_a_policy_sets_are_not_sent(name: str) -> None:
    (call,) = sent(Response(200, body=b"abc", headers={name: "999"})).calls
    assert call[2] == b"content-length: 3\r\n" + OWN


def test_a_date_of_a_policy_is_kept() -> None:
    (call,) = sent(Response(200, headers={"Date": "then"})).calls
    assert call[2].count(b"ate: ") == 1


def test_rfc9110_9_3_2_an_answer_to_head_tells_the_length_and_has_no_body() -> None:
    assert sent(Response(200, body=b"abc"), b"HEAD").calls == [("send", 200, b"content-length: 3\r\n" + OWN, b"")]


@pytest.mark.parametrize("response", [Response(204), Response(204, body=b"abc"), Response(304, body=b"abc")])
def test_rfc9110_6_4_1_an_answer_without_content_has_none(response: Response) -> None:
    (call,) = sent(response).calls
    assert call[3] == b""
    if response.status == 204:
        assert lengths(call[2]) == []


def test_a_body_of_the_service_under_way_keeps_its_length() -> None:
    client = sent(of_service(OK + b"Content-Length: 9\r\nx-a: 1\r\n", under_way(b"ab")))
    assert client.names == ["send_head", "write_body"]
    assert lengths(client.heads[0][1]) == [b"9"]
    assert client.calls[0][3] == 9


def test_the_reason_of_the_service_is_kept_while_its_status_is() -> None:
    head = b"HTTP/1.1 200 Fine\r\ncontent-length: 0\r\n"
    assert sent(of_service(head, b"")).reasons == [b"Fine"]
    changed = of_service(head, b"", lambda response: setattr(response, "status", 201))
    assert sent(changed).reasons == [None]


def test_a_replaced_body_has_its_own_length() -> None:
    stream = under_way(b"ab")
    client = sent(of_service(OK + b"content-length: 9\r\n", stream, lambda response: response.replace_body("new")))
    assert client.calls[0][3] == b"new"
    assert lengths(client.heads[0][1]) == [b"3"]
    assert stream.held() == b""


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("make", [lambda: b"abc", lambda: under_way(b"ab")], ids=["whole", "under way"])
def test_rfc9110_6_4_1_a_status_without_content_sends_none_of_the_services_body(
    status: int, make: Callable[[], bytes | Body]
) -> None:
    head = OK + b"content-length: 3\r\n"
    client = sent(of_service(head, make(), lambda response: setattr(response, "status", status)))
    assert client.body == b""
    assert client.names == ["send"]
    if status == 204:
        assert lengths(client.heads[0][1]) == []  # RFC 9110 8.6


def test_a_body_that_a_policy_has_read_is_sent_whole() -> None:
    response = of_service(OK + b"transfer-encoding: chunked\r\n", b"abc")
    assert lengths(sent(response).heads[0][1]) == [b"3"]


# failures


async def failed(error: GatewayError, **state: Any) -> FakeClient:
    client = FakeClient()
    x = exchange(client=client)
    for name, value in state.items():
        setattr(x, name, value)
    await answer_failure(x, error)
    return client


async def test_nothing_is_told_to_a_client_that_is_gone() -> None:
    assert (await failed(GatewayError("relay.client_gone"))).calls == []


async def test_after_the_head_the_connection_is_cut() -> None:
    assert (await failed(GatewayError("relay.truncated"), status=200)).names == ["abort"]


async def test_the_endpoint_is_given_up_before_the_client_is_told() -> None:
    upstream, client = FakeUpstream(), FakeClient()
    x = exchange(client=client)
    x.attempt = attempt_on(x, upstream)
    upstream.on_finish = lambda: client.calls.append(("finish",))
    await answer_failure(x, GatewayError("head.timeout"))
    assert client.names == ["finish", "send"]
    assert x.upstream is None


async def line_of(caplog: pytest.LogCaptureFixture, code: str, **state: Any) -> Any:
    """The line about a failure."""
    caplog.set_level(logging.DEBUG, "propylon.engine")
    await failed(GatewayError(code, log="10.0.0.7 said no"), **state)
    (record,) = caplog.records
    return record


async def test_the_operator_reads_where_and_why(caplog: pytest.LogCaptureFixture) -> None:
    record = await line_of(caplog, "connect.refused", endpoint=cast("Any", FakeEndpoint()))
    for part in (
        'connect.refused detail="10.0.0.7 said no"',
        "id=id-1",
        "endpoint=http://10.0.0.7:3001",
        "client=192.0.2.1",
    ):
        assert part in record.getMessage()


@pytest.mark.parametrize(
    ("code", "before", "status", "response"),
    [
        ("connect.refused", 0, 503, "error"),
        ("relay.client_gone", 0, None, "none"),
        ("relay.truncated", 200, 200, "cut"),
        ("relay.client_gone", 206, 206, "cut"),
        ("read.unexpected_eof", 200, 200, "cut"),
    ],
)
async def test_the_line_has_what_the_client_saw(
    code: str, before: int, status: int | None, response: str, caplog: pytest.LogCaptureFixture
) -> None:
    record = await line_of(caplog, code, status=before)
    assert (record.facts["status"], record.facts["response"]) == (status, response)
