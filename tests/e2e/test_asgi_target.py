"""`target: asgi:module:name`: a gateway and its application in one process."""

from __future__ import annotations

from pathlib import Path

from websockets.asyncio.client import connect

from tests.e2e.test_live_change import TAKEN, Live, live
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import within

CONFIGURATION = """\
listen: 127.0.0.1:0
routes:
  - {path: /*, target: "asgi:shop:app"}
"""
APPLICATION = """
import asyncio

VERSION = 1
asked = 0
released = asyncio.Event()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"].upper()})
        return
    global asked
    asked += 1
    if scope["path"] == "/slow":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.body", "body": b"ended"})
        return
    host = dict(scope["headers"])[b"host"].decode()
    body = f"{VERSION} {asked} {scope['scheme']} {host} {scope['client'][0]}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""


def write(folder: Path, version: int = 1) -> None:
    (folder / "shop.py").write_text(APPLICATION.replace("VERSION = 1", f"VERSION = {version}"))
    (folder / "p.yaml").write_text(CONFIGURATION)


async def shown(gateway: Live) -> str:
    reply = await gateway.client.ask(request_bytes(host=b"shop.example"))
    assert reply.status == 200, gateway.process.output
    return bytes(reply.body).decode()


async def test_it_gets_requests_and_websockets_as_behind_a_server(tmp_path: Path) -> None:
    write(tmp_path)
    async with live(tmp_path) as gateway:
        assert await shown(gateway) == "1 1 http shop.example 127.0.0.1"
        async with connect(f"ws://127.0.0.1:{await gateway.process.port()}/ws") as websocket:
            await websocket.send("hello")
            assert await websocket.recv() == "HELLO"


async def test_it_lives_on_while_its_code_is_the_same(tmp_path: Path) -> None:
    write(tmp_path)
    async with live(tmp_path) as gateway:
        assert (await shown(gateway)).startswith("1 1 ")
        await gateway.hang_up("nothing has changed")
        assert (await shown(gateway)).startswith("1 2 ")
        gateway.file.write_text(CONFIGURATION + "log: {level: debug}\n")
        await gateway.hang_up(TAKEN, 2)
        assert (await shown(gateway)).startswith("1 3 ")


async def test_new_code_takes_over_and_the_old_ends_its_requests(tmp_path: Path) -> None:
    write(tmp_path)
    async with live(tmp_path) as gateway, RawClient(await gateway.process.port()) as slow:
        await slow.send(b"POST /slow HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\n\r\nab")
        await slow.read_until(b"begun ")
        write(tmp_path, version=2)
        await gateway.hang_up(TAKEN)
        assert (await shown(gateway)).startswith("2 1 ")
        await slow.send(b"cd")
        async with within(5, "the end of the old request"):
            await slow.read_until(b"ended")
