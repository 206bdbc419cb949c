"""An exchange that may be tried at several endpoints, each of which answers or fails when a test says so.

tries = await Tries(method=b"PUT", retry=RetrySettings(attempts=2)).start()
await tries.fail(0)
assert tries.asked == [True, True, False]
"""

from __future__ import annotations

from typing import Any

import orjson

from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.pipeline import PolicyUse, compile_pipeline
from propylon.engine.retry import RetrySettings
from tests.support.deadline import settle
from tests.support.fakes import OK, FakeClient, FakeEndpoint, FakeUpstream, exchange, fake_service, snapshot

EMPTY = OK + b"content-length: 0\r\n"


class Tries:
    """An exchange whose service has several endpoints, each with one connection, asked in turn."""

    def __init__(
        self,
        *policies: object,
        endpoints: int = 3,
        retry: RetrySettings | None = None,
        route: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        **keys: Any,
    ) -> None:
        self.upstreams = [FakeUpstream() for _ in range(endpoints)]
        self.endpoints = [FakeEndpoint(upstream) for upstream in self.upstreams]
        for number, endpoint in enumerate(self.endpoints):
            endpoint.url = f"http://10.0.0.{number}:1"
        self.service = fake_service(*self.endpoints, **{"retry": retry or RetrySettings(), **(settings or {})})
        self.done: list[int] = []
        uses = [PolicyUse("p", each) for each in policies]
        keys_of_route = {"service": self.service, "pipeline": compile_pipeline(uses), **(route or {})}
        self.client = FakeClient()
        self.source = FakeUpstream()  # of a body under way
        self.x = exchange(snapshot(route=keys_of_route), client=self.client, **keys)

    async def start(self) -> Tries:
        self.x.start(forward(self.x))
        await settle(3)
        return self

    async def fail(self, number: int, code: str = "attempt.closed") -> None:
        self.upstreams[number].fail(code)
        await settle(3)

    async def answer(self, number: int, head: bytes = EMPTY) -> None:
        self.upstreams[number].answer(head)
        await settle(3)

    @property
    def asked(self) -> list[bool]:
        """Which endpoints have got the request."""
        return [bool(upstream.sent) for upstream in self.upstreams]

    @property
    def status(self) -> int:
        """What the client was answered; 0 for nothing yet."""
        return self.client.heads[0][0] if self.client.heads else 0

    @property
    def code(self) -> str:
        """The failure that the client was told."""
        return str(orjson.loads(self.client.body)["code"])

    def ended(self) -> None:
        """Nothing is left of the exchange, and every count is back at zero."""
        assert self.x.finished
        assert self.client.done == [self.x]
        assert [endpoint.vitals.inflight for endpoint in self.endpoints] == [0] * len(self.endpoints)
        assert all(upstream.finished == bool(upstream.sent) for upstream in self.upstreams)
        assert not self.source.holds


class Counts:
    """A policy that looks at the pieces of the request's body."""

    def __init__(self) -> None:
        self.seen = b""

    def on_request_chunk(self, x: Exchange, data: bytes) -> bytes:
        self.seen += data
        return data
