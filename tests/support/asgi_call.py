"""A client side that is the call of an ASGI application (`engine/sides.py`), as small as it can be.

await AsgiCall(core, scope, receive, send).run()
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

from propylon.engine.body import Body
from propylon.engine.client_certificate import ClientCertificate
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.sides import Client, Head
from propylon.http.forwarded import Origin, origin
from propylon.http.headers import Pair, headers_of
from propylon.http.refusal import Refusal
from propylon.http.request_head import RequestFields, RequestLine
from propylon.runtime.core import Core

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class AsgiCall:
    """One call; what is to be sent waits in a queue, without a bound."""

    client_certificate: ClientCertificate | None = None
    expects_continue = False

    def __init__(self, core: Core, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.due = inf
        self._core, self._scope, self._receive, self._send = core, scope, receive, send
        self._out: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._holders: set[object] = set()
        self._free = asyncio.Event()
        self._free.set()

    @property
    def protocol(self) -> str:
        return f"HTTP/{self._scope['http_version']}"

    async def run(self) -> None:
        """Carry the exchange of this call."""
        x = self._exchange()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read(x, x.body)) if isinstance(x.body, Body) else None
            x.start(forward(x))
            while (event := await self._out.get()) is not None:
                await self._send(event)
            if reading is not None:
                reading.cancel()

    def _exchange(self) -> Exchange:
        scope, rules = self._scope, self._core.snapshot.reader.rules
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        try:
            line = RequestLine.of(scope["method"].encode("ascii"), scope["raw_path"] + query, rules)
            x = self._core.begin(self, line, RequestFields.of(scope["headers"], rules))
        except Refusal as refusal:
            return self._core.refused(self, GatewayError(refusal.code, refusal.detail))
        if x.fields.length > 0 or x.fields.chunked:
            x.body = Body(self, x.fields.length)
        return x

    async def _read(self, x: Exchange, body: Body) -> None:
        while True:
            await self._free.wait()
            event = await self._receive()
            if event["type"] == "http.disconnect":
                x.fail(GatewayError("relay.client_gone"))
                return
            if event["body"]:
                x.bytes_in += len(event["body"])
                body.feed(event["body"])
            if not event.get("more_body"):
                body.end([])
                return

    def _put(self, event: dict[str, Any]) -> None:
        self._out.put_nowait(event)

    # the engine's side

    @property
    def listener_id(self) -> None:
        """There is no listener."""
        return

    def origin(self, x: Exchange) -> Origin:
        host = x.host.text if x.host is not None else b""
        address, scheme = self._scope["client"][0].encode("ascii"), self._scope["scheme"].encode("ascii")
        return origin(x.snapshot.forwarding, address, scheme, host, b"80", x.fields.all)

    def send(self, head: Head, added: bytes, body: bytes) -> None:
        self._start(head, added)
        self._put({"type": "http.response.body", "body": body})

    def send_head(self, head: Head, added: bytes, length: int) -> None:
        self._start(head, added)

    def _start(self, head: Head, added: bytes) -> None:
        headers = [(name.lower(), value) for name, value in headers_of(head.block + added).raw]
        self._put({"type": "http.response.start", "status": head.status, "headers": headers})

    def send_interim(self, head: Head) -> None:
        pass

    def write_body(self, data: bytes) -> None:
        self._put({"type": "http.response.body", "body": data, "more_body": True})

    def end_body(self, trailers: list[Pair]) -> None:
        self._put({"type": "http.response.body", "body": b""})

    def body_wanted(self) -> None:
        pass

    def hold(self, owner: object) -> None:
        self._holders.add(owner)
        self._free.clear()

    def release(self, owner: object) -> None:
        self._holders.discard(owner)
        if not self._holders:
            self._free.set()

    def switch(self, head: Head, added: bytes) -> None:
        return None

    def abort(self) -> None:
        self._put({"type": "aborted"})

    def exchange_done(self, x: Exchange) -> None:
        self._out.put_nowait(None)


def typed(call: AsgiCall) -> Client:
    """What the type checker is asked: is this the engine's Protocol?"""
    return call
