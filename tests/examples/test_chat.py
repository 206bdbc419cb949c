"""The chat example: two people, and what its README says of endings."""

from __future__ import annotations

import json
import random
import signal
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.support.client import RawClient, request_bytes
from tests.support.deadline import within
from tests.support.example import EXAMPLES, Example, example

ORIGIN = "http://127.0.0.1:8080"


def room(chat: Example, origin: str = ORIGIN) -> Any:
    return connect(f"ws://{chat.address}/room", origin=origin)  # type: ignore[arg-type]


async def heard(socket: ClientConnection) -> dict[str, Any]:
    async with within(3, "news of the room"):
        news: dict[str, Any] = json.loads(await socket.recv())
        return news


async def closed(socket: ClientConnection) -> tuple[int | None, str | None]:
    """What the Close frame said that ended it; 1006 for none."""
    async with within(3, "the end of a WebSocket"):
        await socket.wait_closed()
    return socket.close_code, socket.close_reason


async def test_two_people_hear_each_other_come_speak_and_go() -> None:
    async with example("chat") as chat, room(chat) as ada:
        await ada.send("Ada")
        assert await heard(ada) == {"who": "Ada", "joined": True}
        async with room(chat) as bob:
            await bob.send("Bob")
            for each in (ada, bob):
                assert await heard(each) == {"who": "Bob", "joined": True}
            await bob.send("<b>hello</b>")
            for each in (ada, bob):
                assert await heard(each) == {"who": "Bob", "said": "<b>hello</b>"}
            async with room(chat) as other:
                await other.send("Bob")
                assert await closed(other) == (1008, "choose another name")
            bob.transport.abort()
            assert await heard(ada) == {"who": "Bob", "left": True}


async def test_the_endings_are_those_of_the_readme() -> None:
    async with example("chat") as chat:
        async with room(chat) as talker:
            await talker.send("Talker")
            await talker.send(random.Random(1).randbytes(4097).hex())  # what compresses well is smaller on the wire
            assert await closed(talker) == (1009, "message_too_big")
        with pytest.raises(InvalidStatus) as refused:
            async with room(chat, "https://evil.example"):
                pass
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body or b"")["code"] == "upgrade.origin"
        async with room(chat) as ada:
            await ada.send("Ada")
            await heard(ada)
            chat.service.signal(signal.SIGTERM)
            assert await closed(ada) == (1011, "upstream_error")


async def test_a_gateway_that_stops_says_so() -> None:
    async with example("chat") as chat, room(chat) as ada:
        await ada.send("Ada")
        await heard(ada)
        chat.gateway.signal(signal.SIGTERM)
        assert await closed(ada) == (1001, "going_away")
        assert await chat.gateway.ended() == 0


async def test_the_page_is_served_and_the_room_is_for_websockets_only() -> None:
    async with example("chat") as chat, RawClient(chat.port) as client:
        page = await client.ask(request_bytes(b"/"))
        assert page.status == 200
        assert bytes(page.body) == (EXAMPLES / "chat" / "page.html").read_bytes()
        assert (await client.ask(request_bytes(b"/room"))).status == 404
