"""The resilient example, as its README says: endpoints that fail and die, and what clients see of it."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.support.client import RawClient, Reply, request_bytes
from tests.support.example import EXAMPLES
from tests.support.process import Process, running, started

FOLDER = EXAMPLES / "resilient"
V1 = b"x-version: v1"


@dataclass(frozen=True, slots=True)
class Shop:
    """What runs."""

    gateway: Process
    one: Process
    client: RawClient

    async def ask(self, *lines: bytes) -> Reply:
        return await self.client.ask(request_bytes(b"/shop/cart", *lines))


@asynccontextmanager
async def shop(fail: str) -> AsyncIterator[Shop]:
    """The shop, whose endpoint `two` fails a share of its requests."""
    async with AsyncExitStack() as stack:
        services, settings = {}, {"LISTEN": "127.0.0.1:0"}
        for name, share in (("one", "0"), ("two", fail), ("three", "0")):
            environment = {"PORT": "0", "NAME": name, "FAIL": share}
            services[name] = service = await stack.enter_async_context(
                started(sys.executable, "service.py", folder=FOLDER, environment=environment)
            )
            settings[name.upper()] = f"http://127.0.0.1:{await service.port()}"
        gateway = await stack.enter_async_context(running(FOLDER, "gateway.yaml", settings))
        client = await stack.enter_async_context(RawClient(await gateway.port()))
        yield Shop(gateway, services["one"], client)


async def test_clients_do_not_notice_an_endpoint_that_fails() -> None:
    async with shop(fail="1") as running_shop:
        answers = [await running_shop.ask(V1) for _ in range(30)]
        assert Counter((answer.status, answer.json()["from"]) for answer in answers) == {(200, "one"): 30}
        await running_shop.gateway.said("the circuit of endpoint http://127.0.0.1:[0-9]+ of v1 is open for [56] s")


async def test_an_endpoint_that_has_gone_is_found_out_and_the_fallback_answers_when_nobody_is_left() -> None:
    async with shop(fail="1") as running_shop:
        for _ in range(30):
            await running_shop.ask(V1)
        running_shop.one.signal(signal.SIGKILL)
        await running_shop.gateway.said("endpoint http://127.0.0.1:[0-9]+ is ill: GET /healthz: .*2 times in a row")
        answers = [await running_shop.ask(V1) for _ in range(2)]  # one of them may be the probe that tries `two` again
        assert {answer.status for answer in answers} == {503}
        closed = next(answer for answer in answers if answer.header("retry-after") == "5")
        assert closed.json() == {"error": "the shop is closed for a moment"}


async def test_a_browser_stays_with_its_version_and_may_ask_for_one() -> None:
    async with shop(fail="0") as running_shop:
        assert (await running_shop.ask(b"x-version: v2")).json()["from"] == "three"
        versions = set()
        for _ in range(40):
            first = await running_shop.ask()
            cookie = (first.header("set-cookie") or "").partition(";")[0]
            assert cookie.startswith("shop_version=")
            again = json.loads((await running_shop.ask(b"cookie: " + cookie.encode())).body)
            versions.add((first.json()["from"] == "three", again["from"] == "three"))
        assert versions <= {(True, True), (False, False)}
