"""The opening handshake of a WebSocket: an ordinary request until the endpoint responds with 101 (RFC 6455 4).

Before that, a failure is an HTTP response; after it, a `Tunnel` carries the exchange.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from propylon.engine import lines
from propylon.engine.ask import ask
from propylon.engine.errors import GatewayError
from propylon.engine.pipeline import run_all
from propylon.engine.response import Response
from propylon.engine.response_out import added_fields, head_block, send, sent
from propylon.engine.websocket.settings import TunnelSettings
from propylon.engine.websocket.tunnel import Tunnel
from propylon.http.permessage_deflate import NAME
from propylon.http.response_head import OwnHead
from propylon.http.websocket import VERSION, is_key

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Head, Upstream
    from propylon.http.request_head import RequestFields
    from propylon.http.response_head import ResponseHead

_DEFAULTS = TunnelSettings()
_EXTENSIONS = "sec-websocket-extensions"
_AGREED = (b"sec-websocket-extensions", b"sec-websocket-protocol")


def check_handshake(method: bytes, fields: RequestFields) -> None:
    """Check a request that asks for a WebSocket (RFC 6455 4.2.1); that it is HTTP/1.1 was checked before.

    Raises:
        GatewayError: upgrade.bad_handshake, upgrade.version.
    """
    if not fields.upgrade:
        raise GatewayError("upgrade.bad_handshake", "no 'upgrade' in the Connection field (RFC 6455 4.2.1)")
    if method != b"GET":
        raise GatewayError("upgrade.bad_handshake", "the method is not GET (RFC 6455 4.2.1)")
    if fields.chunked or fields.length > 0:
        raise GatewayError("upgrade.bad_handshake", "a handshake has no body (CVE-2026-69243)")
    versions = fields.all(b"sec-websocket-version")
    if versions != [VERSION]:
        headers = {"sec-websocket-version": VERSION.decode("ascii")}
        raise GatewayError("upgrade.version", "Sec-WebSocket-Version is not 13 (RFC 6455 4.2.1)", headers=headers)
    keys = fields.all(b"sec-websocket-key")
    if len(keys) != 1 or not is_key(keys[0]):
        raise GatewayError("upgrade.bad_handshake", "Sec-WebSocket-Key is not 16 bytes in base64 (RFC 6455 4.2.1)")


def limit_offer(x: Exchange) -> None:
    """Offer the endpoint only extensions that the gateway supports.

    With on_message hooks, or a limit for messages, that is permessage-deflate: others could hide the size. With
    reconnects it is none: the compression context of the first endpoint would be missing at the next one.
    """
    settings = x.tunnel_settings
    none = settings is not None and settings.reconnect is not None
    bounded = settings is not None and settings.limits.message is not None
    if not (none or bounded or x.route.pipeline.on_message):
        return
    headers = x.request.headers
    offers = [offer.strip() for value in headers.get_all(_EXTENSIONS) for offer in value.split(",")]
    headers.remove(_EXTENSIONS)
    for offer in offers:
        if not none and offer.partition(";")[0].strip().lower() == NAME:
            headers.add(_EXTENSIONS, offer)


async def tunnel(x: Exchange, upstream: Upstream) -> None:
    """Pass the 101 on, and relay until both sides have closed (steps 6 and 7).

    Raises:
        GatewayError: tunnel.* if the tunnel failed, response.policy_failed.
    """
    x.disarm()
    first = upstream.head
    assert first is not None
    head: Head = first
    if x.route.pipeline.on_response:
        x.response = Response.of_service(first, b"")
        await run_all(x, x.route.pipeline.on_response)
        response = x.response
        assert response is not None
        if response.status != 101:
            await _refuse(x, response)
            return
        head = OwnHead(101, head_block(response), first.reason)
    made = Tunnel(x, _settings(x), _field(first, b"sec-websocket-extensions"))
    x.set_lasting(made)
    x.status = 101
    made.begin(x.client.switch(head, added_fields(x, first.has_date)), upstream.switch())
    while not made.ended:
        if made.wants_endpoint:
            await _reconnect(x, made, first)
            continue
        try:
            await x.pause()
        except GatewayError as error:
            made.refuse(error)
    x.bytes_in += made.from_client.bytes
    x.bytes_out += made.from_service.bytes
    if made.error is not None:
        raise made.error
    if made.closing and (close := made.client.sent_close) is not None:
        lines.closed(x, close)


def _settings(x: Exchange) -> TunnelSettings:
    """Return the policy's settings, with the client's write timeout (`timeouts.write`)."""
    return replace(x.tunnel_settings or _DEFAULTS, write=x.snapshot.client_timeouts.write)


async def _refuse(x: Exchange, response: Response) -> None:
    """Send the response that a policy has set in place of a 101."""
    x.end_attempt()
    send(x, response)
    await sent(x)


async def _reconnect(x: Exchange, tunnel: Tunnel, first: ResponseHead) -> None:
    """Connect another endpoint, if it accepts the WebSocket with the same extensions and subprotocol."""
    lost = x.endpoint
    if lost is not None:
        lines.reconnecting(x, lost)
    if x.attempt is not None:
        x.attempt.blame(GatewayError("tunnel.endpoint_lost"))
        x.attempt.settle()
        x.attempt.previous = None  # a tunnel may reconnect for days; bound the list
    if x.service is not None:  # of the current snapshot: a tunnel may outlive its own by days
        x.service = x.service.current or x.service
    try:
        upstream = (await ask(x, lost)).upstream
        assert upstream is not None
        head = upstream.head
        assert head is not None
        if head.status != 101 or any(_field(head, name) != _field(first, name) for name in _AGREED):
            raise GatewayError("tunnel.endpoint_lost", log="another endpoint did not open the same WebSocket")
    except GatewayError as error:
        x.end_attempt()
        x.disarm()
        tunnel.retry(error)
        return
    tunnel.replace_endpoint(upstream.switch())


def _field(head: ResponseHead, name: bytes) -> bytes:
    return b",".join(value for key, value in head.visible if key.lower() == name)
