"""Step 6 for responses that are not passed on as received: those of policies, changed ones, failures."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING

from propylon.engine import lines
from propylon.engine.body import Body
from propylon.engine.clock import http_date
from propylon.engine.content import DESCRIBES_CONTENT, RESPONSE
from propylon.engine.decoded_body import DecodedBody
from propylon.engine.error_page import render_error
from propylon.engine.errors import GatewayError
from propylon.engine.event_stream import CLIENT_GONE, EventStream
from propylon.engine.pipeline import first_answer, run_all
from propylon.engine.sides import UNKNOWN
from propylon.engine.transform import Transform
from propylon.http.fields import CONNECTION_BOUND, render
from propylon.http.response_head import OwnHead
from propylon.http.sse import is_event_stream

if TYPE_CHECKING:
    from propylon.engine.body import BodySink
    from propylon.engine.exchange import Exchange
    from propylon.engine.pipeline import Hook, NamedHook
    from propylon.engine.response import Response
    from propylon.http.content_coding import ContentDecoder

_WRITTEN_ANEW = CONNECTION_BOUND | {b"content-length", b"x-request-id"}


async def answer(x: Exchange, response: Response) -> None:
    """Run the on_response policies on a response, then send it.

    Raises:
        GatewayError: response.policy_failed, or the failure that ended the exchange.
    """
    x.response = response if response.head is not None else response.of_exchange(x)
    await run_all(x, x.route.pipeline.on_response)
    assert x.response is not None
    if not x.response.bound:
        x.response = x.response.of_exchange(x)
    send(x, x.response)
    if x.response.head is None or x.upstream is None:
        await sent(x)


async def sent(x: Exchange) -> None:
    """Wait until the whole body of the gateway's own response is sent.

    Raises:
        GatewayError: the failure of the body's source, or the one that ended the exchange.
    """
    content = x.response.content if x.response is not None else b""
    try:
        while not _is_sent(x, content):
            if isinstance(content, Body) and content.error is not None:
                raise content.error
            await x.pause()
    finally:
        if isinstance(content, Body):
            content.watcher = None  # a cycle that only the collector would free


def _is_sent(x: Exchange, content: bytes | Body) -> bool:
    if x.transform is not None:
        return x.transform.ended
    if not isinstance(content, Body) or content.watcher is not x:
        return True
    return content.ended or (x.lasting is not None and x.lasting.ended)


def added_fields(x: Exchange, has_date: bool) -> bytes:
    """Return the fields that the gateway adds to every response (RFC 9110 6.6.1: Date if it is missing)."""
    added = b"x-request-id: %b\r\n" % x.id if x.shows_request_id else b""
    if x.extra_fields:
        added = x.extra_fields + added
    return added if has_date else b"date: %b\r\n%b" % (http_date(), added)


def send(x: Exchange, response: Response) -> None:
    """Send a response; a body under way follows as it arrives."""
    content = response.content
    bodyless = x.client_method == b"HEAD" or response.status in (204, 304)
    length = _length(response, bodyless)
    if bodyless and isinstance(content, Body):
        content.detach()
        content = b""
    hooks = x.route.pipeline.on_response_chunk
    decoder = None
    if hooks and (content or bodyless):
        decoder = _prepare_change(response, bodyless)
        length = UNKNOWN
    if bodyless or not content:
        hooks = ()
    head = _head(response, length)
    added = added_fields(x, "date" in response.headers)
    x.status = response.status
    if x.upstream is None:  # as with the head of a service's answer
        x.deadline = x.total_deadline = inf
    if hooks or isinstance(content, Body):
        x.client.send_head(head, added, length)
        body = content if isinstance(content, Body) else Body.of(content)
        _pipe(x, body, hooks, _sink(x, response, length), decoder)
    else:
        x.client.send(head, added, b"" if bodyless else content)
    if x.upstream is None:
        return
    if content is x.upstream.body:
        x.arm_relay(x.upstream)
    elif not x.upstream.complete:  # the service's own body was replaced
        x.end_attempt()


def _prepare_change(response: Response, bodyless: bool) -> ContentDecoder | None:
    """Return the decoder of a body that chunk hooks change, and drop the fields that describe the old one.

    The response to HEAD, and a 304, have the same fields as that to GET (RFC 9110 9.3.2, 15.4.5).

    Raises:
        GatewayError: response.undecodable.
    """
    decoder = None if bodyless else RESPONSE.decoder(response.headers)
    partial = response.status in (206, 416)  # which cannot be without Content-Range (RFC 9110 14.4)
    response.headers.remove_all(DESCRIBES_CONTENT - {b"content-range"} if partial else DESCRIBES_CONTENT)
    return decoder


def _pipe(
    x: Exchange, body: Body, hooks: tuple[NamedHook, ...], sink: BodySink, decoder: ContentDecoder | None
) -> None:
    """Pass the body on after its head, decoded through the chunk hooks."""
    if x.upstream is None or body is not x.upstream.body:
        body.watcher = x
    if decoder is not None:
        body = DecodedBody(x, RESPONSE, body, decoder).body
    if hooks:
        sink = x.transform = Transform(x, hooks, body.source, sink)
        x.defer(x.transform.cancel)
    body.pipe(sink)


def _length(response: Response, bodyless: bool) -> int:
    """Return the value of Content-Length; `UNKNOWN` for none (RFC 9110 8.6)."""
    head, content = response.head, response.content
    if response.status == 204:
        return UNKNOWN
    if head is not None and (isinstance(content, Body) or (bodyless and not response.replaced)):
        return head.length
    return content.length if isinstance(content, Body) else len(content)


def _sink(x: Exchange, response: Response, length: int) -> BodySink:
    """Return the sink of the body: the client, or an `EventStream` for one without content coding."""
    kind = response.headers.get("content-type") or ""
    plain = length == UNKNOWN and "content-encoding" not in response.headers
    return EventStream(x) if plain and is_event_stream(kind.encode("latin-1")) else x.client


def _head(response: Response, length: int = UNKNOWN) -> OwnHead:
    """Return the head to send; `length` is its Content-Length, or `UNKNOWN`."""
    head = response.head
    block = head_block(response)
    if length >= 0:
        block += b"content-length: %d\r\n" % length
    reason = head.reason if head is not None and head.status == response.status else None
    return OwnHead(response.status, block, reason)


def head_block(response: Response) -> bytes:
    """Render the fields of a response, with policies' changes, but without those that the gateway writes."""
    return render(pair for pair in response.headers.raw if pair[0].lower() not in _WRITTEN_ANEW)


async def answer_failure(x: Exchange, error: GatewayError) -> None:
    """Send the error response for a failure; abort the connection if a head has been sent already."""
    x.error = error
    if x.status:
        _cut_off(x, error)
        return
    x.end_attempt()
    if error.status == CLIENT_GONE:
        lines.failed(x, error, "none")
        return
    pipeline = x.route.pipeline
    failures = [error]
    try:
        response = await first_answer(
            x, tuple((partial(_call_on_error, hook, error), name) for hook, name in pipeline.on_error)
        )
        x.response = response.of_exchange(x) if response is not None else render_error(x, error)
        if error.code != "response.policy_failed":
            await run_all(x, pipeline.on_response)
    except GatewayError as second:
        failures.append(second)
        x.response = render_error(x, error)
    assert x.response is not None
    send(x, x.response)
    for each in failures:
        lines.failed(x, each, "none" if failures[-1].status == CLIENT_GONE else "error")
    try:
        await sent(x)
    except GatewayError as second:
        lines.failed(x, second, "cut")
        x.client.abort()


def _cut_off(x: Exchange, error: GatewayError) -> None:
    """End a response whose head was sent: by an error event if it is an event stream that has them."""
    if x.lasting is not None and x.lasting.send_error(error):
        lines.failed(x, error, "event")
        return
    tunnel = x.tunnel
    lines.failed(x, error, "closed" if tunnel is not None and tunnel.client.sent_close is not None else "cut")
    x.client.abort()


def _call_on_error(hook: Hook, error: GatewayError, x: Exchange) -> object:
    return hook(x, error)
