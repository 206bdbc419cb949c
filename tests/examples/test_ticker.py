"""The ticker example, read by curl as its README says, and what happens when one of its parts ends."""

from __future__ import annotations

import json
import re
import signal
from contextlib import AbstractAsyncContextManager

from tests.support.client import RawClient, request_bytes
from tests.support.example import EXAMPLES, Example, example
from tests.support.process import Process, started


def curl(ticker: Example, *more: str) -> AbstractAsyncContextManager[Process]:
    return started("curl", "--silent", "-N", *more, f"http://{ticker.address}/ticks", folder=EXAMPLES)


async def test_curl_gets_each_event_as_it_is_sent() -> None:
    async with example("ticker", EVERY="0.3") as ticker, curl(ticker) as reader:
        await reader.said("^id: 1$")
        await reader.said("^event: tick$")
        await reader.said(r'^data: {"price": 100\.99}$')
        assert "id: 2" not in reader.output
        await reader.said("^id: 2$")


async def test_who_comes_back_goes_on_behind_the_last_event() -> None:
    async with example("ticker") as ticker, curl(ticker, "-H", "last-event-id: 41") as reader:
        await reader.said("^id: ")
        assert reader.lines[0] == "id: 42\n"


async def test_the_death_of_the_service_is_the_last_event() -> None:
    async with example("ticker", EVERY="0.05") as ticker, curl(ticker) as reader:
        await reader.said("^id: 2$")
        ticker.service.signal(signal.SIGKILL)
        assert await reader.ended() == 0
        *ticks, error, rest = reader.output.split("\n\n")
        assert all(re.fullmatch(r'id: \d+\nevent: tick\ndata: {"price": [\d.]+}', event) for event in ticks)
        assert rest == ""
        assert error.startswith("event: error\ndata: ")
        assert json.loads(error.removeprefix("event: error\ndata: "))["code"] == "relay.truncated"


async def test_the_page_is_served() -> None:
    async with example("ticker") as ticker, RawClient(ticker.port) as client:
        page = await client.ask(request_bytes(b"/"))
        assert page.status == 200
        assert bytes(page.body) == (EXAMPLES / "ticker" / "page.html").read_bytes()
