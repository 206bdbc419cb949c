"""Step 6 for every response that is not passed on as it came: policies' own answers, changed ones, failures."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from propylon.engine.body import Body
from propylon.engine.clock import http_date
from propylon.engine.error_page import render_error
from propylon.engine.errors import GatewayError
from propylon.engine.event_stream import EventStream
from propylon.engine.pipeline import first_answer, run_all
from propylon.engine.sides import UNKNOWN
from propylon.engine.transform import Transform
from propylon.http.fields import CONNECTION_BOUND, render
from propylon.http.response_head import OwnHead
from propylon.http.sse import is_event_stream

if TYPE_CHECKING:
    from propylon.engine.body import BodySink
    from propylon.engine.exchange import Exchange
    from propylon.engine.message import Response
    from propylon.engine.pipeline import Hook

_WRITTEN_ANEW = CONNECTION_BOUND | {b"content-length", b"x-request-id"}

log = logging.getLogger("propylon.engine")


async def answer(x: Exchange, response: Response) -> None:
    """Show a response to the on_response policies, then send it.

    Raises:
        GatewayError: response.policy_failed, or what ended the exchange meanwhile.
    """
    x.response = response if response.head is not None else response.copy()
    await run_all(x, x.route.pipeline.on_response)
    assert x.response is not None
    send(x, x.response)
    if response.head is None:
        await sent(x)


async def sent(x: Exchange) -> None:
    """Wait until policies have let the whole body through, where the gateway answers itself."""
    while x.transform is not None and not x.transform.ended:
        await x.pause()


def added_fields(x: Exchange, has_date: bool) -> bytes:
    """Return what the gateway itself adds to every response (RFC 9110 6.6.1: Date where it is missing)."""
    added = b"x-request-id: %b\r\n" % x.id if x.shows_request_id else b""
    if x.extra_fields:
        added = x.extra_fields + added
    return added if has_date else b"date: %b\r\n%b" % (http_date(), added)


def send(x: Exchange, response: Response) -> None:
    """Send a response; a body that is under way follows as it comes."""
    head, content = response.head, response.content
    bodyless = x.client_method == b"HEAD" or response.status in (204, 304)
    if bodyless and isinstance(content, Body):
        content.detach()
        content = b""
    hooks = () if bodyless else x.route.pipeline.on_response_chunk
    if hooks and content:
        body = content if isinstance(content, Body) else Body.of(content)
        made, added = _head(response), _added(x, response)
        x.status = response.status
        x.client.send_head(made, added, UNKNOWN)
        x.transform = Transform(x, hooks, body.source, _sink(x, response, UNKNOWN))
        x.defer(x.transform.cancel)
        body.pipe(x.transform)
        if x.upstream is not None:
            x.arm_relay(x.upstream)
    elif isinstance(content, Body):
        assert head is not None
        made, added = _head(response, head.length), _added(x, response)
        x.status = response.status
        x.client.send_head(made, added, head.length)
        content.pipe(_sink(x, response, head.length))
        if x.upstream is not None:
            x.arm_relay(x.upstream)
    else:
        length = len(content)
        if response.status == 204:
            length = UNKNOWN  # RFC 9110 8.6
        elif bodyless and not response.replaced:
            length = UNKNOWN if head is None else head.length
        made, added = _head(response, length), _added(x, response)
        x.status = response.status
        x.client.send(made, added, b"" if bodyless else content)
        if x.upstream is not None and not x.upstream.complete:  # the service's own body is not wanted any more
            x.end_attempt()


def _sink(x: Exchange, response: Response, length: int) -> BodySink:
    """Return what takes the body: the client, or for an event stream in plain text what knows where its events end."""
    kind = response.headers.get("content-type") or ""
    plain = length == UNKNOWN and "content-encoding" not in response.headers
    return EventStream(x) if plain and is_event_stream(kind.encode("latin-1")) else x.client


def _head(response: Response, length: int = UNKNOWN) -> OwnHead:
    """Make the head that is sent; `length` is what its Content-Length says, if it has one."""
    head = response.head
    block = head_block(response)
    if length >= 0:
        block += b"content-length: %d\r\n" % length
    reason = head.reason if head is not None and head.status == response.status else None
    return OwnHead(response.status, block, reason)


def _added(x: Exchange, response: Response) -> bytes:
    return added_fields(x, "date" in response.headers)


def head_block(response: Response) -> bytes:
    """Render the fields of a response that are not the gateway's own, whatever policies have made of them."""
    return render(pair for pair in response.headers.raw if pair[0].lower() not in _WRITTEN_ANEW)


async def answer_failure(x: Exchange, error: GatewayError) -> None:
    """Tell the client what failed, as far as it may know; cut the connection if a head has been sent already."""
    x.error = error
    _log(x, error)
    if x.status:
        if x.lasting is None or not x.lasting.tell(error):
            x.client.abort()
        return
    x.end_attempt()
    if error.status == 499:
        return
    pipeline = x.route.pipeline
    try:
        shown = await first_answer(x, tuple((partial(_told, hook, error), name) for hook, name in pipeline.on_error))
        x.response = shown.copy() if shown is not None else render_error(x, error)
        if error.code != "response.policy_failed":
            await run_all(x, pipeline.on_response)
    except GatewayError as second:
        _log(x, second)
        x.response = render_error(x, error)
    if x.status == 0 and x.response is not None:
        send(x, x.response)
        try:
            await sent(x)
        except GatewayError as second:
            _log(x, second)
            x.client.abort()


def _told(hook: Hook, error: GatewayError, x: Exchange) -> object:
    return hook(x, error)


def _log(x: Exchange, error: GatewayError) -> None:
    """Tell the operator: what the client did wrong is worth a debug line, what broke here a warning.

    An open circuit is told when it opens, and not with each request that it stops.
    """
    level = logging.WARNING if error.status >= 500 and error.code != "choose.broken" else logging.DEBUG
    if log.isEnabledFor(level):
        log.log(
            level,
            "%s status=%d id=%s route=%s endpoint=%s attempt=%d elapsed=%.3fs: %s",
            error, error.status, x.request_id or "-", x.route.name,
            x.endpoint.url if x.endpoint is not None else "-", x.attempts, x.elapsed, error.failure.hint,
        )  # fmt: skip
