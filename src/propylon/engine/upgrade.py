"""The opening handshake of a WebSocket: an ordinary request until the endpoint has answered it with 101 (RFC 6455 4).

Before that, every failure is an HTTP response; behind it, the exchange is carried by a `Tunnel`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.engine.errors import GatewayError
from propylon.engine.message import Response
from propylon.engine.pipeline import run_all
from propylon.engine.response_out import head_block, own_fields, send, sent
from propylon.engine.tunnel import Tunnel, TunnelSettings
from propylon.http.websocket import VERSION, is_key

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Upstream
    from propylon.http.request_head import RequestFields
    from propylon.http.response_head import ResponseHead

_DEFAULTS = TunnelSettings()


def check_handshake(method: bytes, fields: RequestFields) -> None:
    """Check a request that asks for a WebSocket (RFC 6455 4.2.1); that it is HTTP/1.1 has been seen before.

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


async def tunnel(x: Exchange, upstream: Upstream) -> None:
    """Pass the 101 on, and what follows, until both sides have closed (steps 6 and 7).

    Raises:
        GatewayError: tunnel.* for an end that was nobody's wish, response.policy_failed.
    """
    x.disarm()
    head = upstream.head
    assert head is not None
    block = head.block
    if x.route.pipeline.on_response:
        response = x.response = Response.of_service(head, b"")
        await run_all(x, x.route.pipeline.on_response)
        if x.response is not response or response.status != 101:
            await _refuse(x, upstream)
            return
        block = head_block(response)
    x.status = 101
    made = x.tunnel = Tunnel(x, x.tunnel_settings or _DEFAULTS, _extensions(head))
    from_client = x.client.switch(head.line, own_fields(x, block, head.has_date), made.client)
    made.begin(from_client, upstream.switch(made.endpoint))
    while not made.done:
        await x.pause()
    if made.error is not None:
        raise made.error


async def _refuse(x: Exchange, upstream: Upstream) -> None:
    """Answer what a policy has put in the place of a 101."""
    upstream.finish()
    x.upstream = None
    assert x.response is not None
    send(x, x.response)
    await sent(x)


def _extensions(head: ResponseHead) -> bytes:
    return b",".join(value for name, value in head.visible if name.lower() == b"sec-websocket-extensions")
