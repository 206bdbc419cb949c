"""WebSockets: clients and services that talk, close, vanish, freeze, flood and lie."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING

from bench.chaos.endings import CUT, INSIDE
from bench.chaos.settings import MESSAGE_LIMIT
from bench.chaos.websocket import BINARY, PING, PONG, TEXT, Socket, close_frame, frame
from bench.chaos.wire import widen
from bench.soak.asks import pattern

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bench.chaos.load import ChaosLoad
    from bench.soak.load import Role

CLOSES = ((1000, ""), (1000, "bye"), (1001, "gone"), (1008, "no"), (3000, "own"), (4999, "därum"), (1011, "x" * 123))
CLIENT_GONE = "1001 client_gone"
ENDPOINT_GONE = "1011 upstream_error"
GIVEN_UP = ("1013 backpressure", CLIENT_GONE)  # whichever is noticed first: it takes nothing, it answers no ping
NO_CLOSE = "1006 "
CLOSE_SECONDS = 5.0  # that the gateway gives a peer to answer a Close frame
SLACK_SECONDS = 2.0  # of a busy machine
MOST_DEATHS = 3  # of endpoints under one WebSocket; `reconnect` has 5 tries

LIES: tuple[tuple[str, bytes], ...] = (
    ("1002", frame(TEXT, b"unmasked", masked=False)),
    ("1002", frame(3, b"an opcode that there is not")),
    ("1002", frame(TEXT, b"a reserved bit", reserved=2)),
    ("1002", frame(TEXT, b"deflated, which was not agreed on", reserved=4)),
    ("1002", frame(0, b"a continuation of nothing")),
    ("1002", frame(TEXT, b"begun", final=False) + frame(TEXT, b"another one within")),
    ("1002", frame(PING, b"x" * 126)),
    ("1002", frame(PING, b"half a ping", final=False)),
    ("1002", b"\x82\xfe\x00\x05\x00\x00\x00\x00short"),
    ("1002", b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00"),
    ("1002", close_frame(1005)),
    ("1002", close_frame(999)),
    ("1002", frame(8, b"\x03")),
    ("1007", frame(8, b"\x03\xe8\xff\xfe")),
    ("1009", b"\x82\xff" + (MESSAGE_LIMIT + 1).to_bytes(8, "big") + bytes(4)),
)
"""What no client may send, and the code that it is told."""


SERVICE_LIES = (frame(TEXT, b"masked"), frame(3, masked=False), frame(0, b"x", masked=False), b"\xf0\x00")


@asynccontextmanager
async def opened(
    load: ChaosLoad, kind: str, service: str, receive_buffer: int | None = None
) -> AsyncIterator[tuple[str, Socket, float]]:
    """A WebSocket, its token, and when it began; a handshake that failed has an ending already."""
    await load.turn()
    token, since = load.token(kind), monotonic()
    connection = await load.connect(receive_buffer)
    try:
        yield token, await Socket(connection).open(f"/sockets/{service}/{token}"), since
    finally:
        connection.reset()


async def talk(load: ChaosLoad, socket: Socket, token: str, messages: int) -> None:
    """Send messages of all sizes, some in pieces, and get each back as it was."""
    for number in range(messages):
        size = load.choose.choices((0, 20, 125, 126, 3_000, 65_536, 200_000), (1, 6, 2, 2, 4, 1, 1))[0]
        payload = pattern(f"{token}-{number}".encode(), size)
        await socket.send(load.choose.choice((TEXT, BINARY)), payload, load.choose.choice((1, 1, 2, 5)))
        received = await socket.message()
        if socket.how:
            return
        if received != payload:
            load.ledger.violation(f"{token}: sent {len(payload)} bytes, got {(received or b'')[:60]!r} back")
        await asyncio.sleep(load.choose.choice((0, 0, 0.01)))


async def talking(load: ChaosLoad) -> None:
    """Talks, then closes."""
    where = load.choose.choice(("steady", "steady", "shaky", "seen"))
    service = "shaky" if where == "shaky" else "steady"
    async with opened(load, "talks", where) as (token, socket, since):
        code, reason = load.choose.choice(CLOSES)
        await talk(load, socket, token, load.choose.choice((1, 3, 30)))
        if not socket.how:
            await socket.close(code, reason)
        load.endings.client(token, socket.how, f"{code} {reason}", since=since, service=service)
        load.endings.service(token, f"{code} {reason}", since=since, service=service)


async def told_to_close(load: ChaosLoad) -> None:
    """Talks, and the service closes."""
    where = load.choose.choice(("steady", "shaky", "seen"))
    service = "shaky" if where == "shaky" else "steady"
    async with opened(load, "told", where) as (token, socket, since):
        code, reason = load.choose.choice(CLOSES)
        await talk(load, socket, token, load.choose.choice((0, 2)))
        await socket.send(TEXT, f"do close {code} {reason}".encode())
        await socket.message()
        load.endings.client(token, socket.how, f"{code} {reason}", since=since, service=service)
        load.endings.service(token, f"{code} {reason}", since=since, service=service)


async def staying(load: ChaosLoad) -> None:
    """Is there for long and says little: whoever kills the shaky service, the client gets the right code."""
    async with opened(load, "stays", "shaky") as (token, socket, since):
        until = monotonic() + load.choose.uniform(1, 12)
        while not socket.how and monotonic() < until and not load.stopping:
            await talk(load, socket, token, 1)
            await asyncio.sleep(0.2)
        if not socket.how:
            await socket.close(1000, "enough")
        load.endings.client(token, socket.how, "1000 enough", since=since, service="shaky")
        load.endings.service(token, "1000 enough", since=since, service="shaky")


async def vanishing(load: ChaosLoad) -> None:
    """Goes away without a Close frame, between two frames or in the middle of one."""
    async with opened(load, "vanishes", "steady") as (token, socket, since):
        await talk(load, socket, token, load.choose.choice((0, 1, 3)))
        way = load.choose.choice(("reset", "close"))
        inside = load.choose.random() < 0.5
        if inside:
            whole = frame(BINARY, pattern(token.encode(), 5_000))
            await socket.write(whole[: load.choose.choice((1, 2, 7, 9, 2_000, len(whole) - 1))])
            await asyncio.sleep(0.02)
        socket.connection.reset() if way == "reset" else socket.connection.close()
        load.ledger.count(f"vanishes by a {way} {'inside a frame' if inside else 'between two'}")
        allowed = (CLIENT_GONE, NO_CLOSE) if inside else (CLIENT_GONE,)
        load.endings.service(token, *allowed, since=since, within=SLACK_SECONDS)


async def lying(load: ChaosLoad) -> None:
    """Breaks the protocol, and is told how; its service only that it has gone."""
    where = load.choose.choice(("steady", "seen"))
    async with opened(load, "lies", where) as (token, socket, since):
        code, lie = load.choose.choice(LIES)
        await talk(load, socket, token, load.choose.choice((0, 1)))
        await socket.write(lie)
        while await socket.message() is not None:
            pass
        load.endings.client(token, socket.how, f"{code} *", since=since)
        load.endings.service(token, CLIENT_GONE, since=since, within=SLACK_SECONDS)


async def garbage(load: ChaosLoad) -> None:
    """Sends bytes at random behind the handshake: whatever they are, both sides get an end."""
    async with opened(load, "garbage", "steady") as (token, socket, since):
        await socket.write(load.choose.randbytes(load.choose.choice((1, 2, 20, 3_000))))
        await asyncio.sleep(0.02)
        socket.connection.close()
        load.ledger.count("garbage")
        load.endings.service(token, CLIENT_GONE, NO_CLOSE, since=since, within=SLACK_SECONDS + CLOSE_SECONDS)


async def lied_to(load: ChaosLoad) -> None:
    """The service breaks the protocol: it is told how, and its client that it has gone."""
    async with opened(load, "lied-to", load.choose.choice(("steady", "seen"))) as (token, socket, since):
        lie = load.choose.choice(SERVICE_LIES)
        await socket.send(TEXT, b"do raw " + lie.hex().encode())
        while await socket.message() is not None:
            pass
        load.endings.client(token, socket.how, ENDPOINT_GONE, since=since)
        load.endings.service(token, "1002 *", since=since, within=SLACK_SECONDS)


async def bereaved(load: ChaosLoad) -> None:
    """The service's connection ends without a Close frame, between two frames or in the middle of one."""
    async with opened(load, "bereaved", load.choose.choice(("steady", "seen"))) as (token, socket, since):
        inside = load.choose.random() < 0.3
        if inside:
            await socket.send(TEXT, b"do raw " + frame(BINARY, bytes(3_000), masked=False)[:2_000].hex().encode())
        await socket.send(TEXT, b"do die " + load.choose.choice((b"rst", b"fin")))
        while await socket.message() is not None:
            pass
        load.endings.client(token, socket.how, *((INSIDE, ENDPOINT_GONE) if inside else (ENDPOINT_GONE,)), since=since)
        load.endings.service(token, NO_CLOSE, since=since)


async def silent(load: ChaosLoad) -> None:
    """Answers no ping: it is cut, and its service told."""
    async with opened(load, "silent", "steady") as (token, socket, since):
        socket.answers = False
        while await socket.message() is not None:
            pass
        load.endings.client(token, socket.how, CUT, since=since)
        load.endings.service(token, CLIENT_GONE, since=since, within=SLACK_SECONDS)
        if not socket.pings:
            load.ledger.violation(f"{token} was cut and never pinged")


async def unheard(load: ChaosLoad) -> None:
    """The service answers no ping: it is cut, and its client told."""
    async with opened(load, "unheard", "steady") as (token, socket, since):
        deaf = 2 * load.settings.ping_seconds + load.settings.pong_seconds + SLACK_SECONDS
        await socket.send(TEXT, f"do deaf {deaf}".encode())
        while await socket.message() is not None:
            pass
        load.endings.client(token, socket.how, ENDPOINT_GONE, since=since)
        load.endings.service(token, NO_CLOSE, since=since)


async def reading_slowly(load: ChaosLoad) -> None:
    """Takes a flood by a small buffer and slowly, but takes it whole.

    The gateway's ping stands behind what has not been read yet; so it says unasked that it is there (RFC 6455 5.5.3).
    """
    where = load.choose.choice(("steady", "seen"))
    async with opened(load, "slow", where, receive_buffer=16_384) as (token, socket, since):
        count, size = 60, 20_000
        await socket.send(TEXT, f"do flood {count} {size}".encode())
        for number in range(count):
            if await socket.message() != pattern(f"{token}-{number}".encode(), size):
                load.ledger.violation(f"{token}: message {number} of a flood is not the one that was sent {socket.how}")
                break
            await socket.write(frame(PONG))
            await asyncio.sleep(load.choose.choice((0, 0.01, 0.1)))
        await socket.close(1000, "enough")
        load.endings.client(token, socket.how, "1000 enough", since=since)
        load.endings.service(token, "1000 enough", since=since)


async def stalled(load: ChaosLoad) -> None:
    """Reads nothing of a flood: both sides are given up, and who can still read is told."""
    async with opened(load, "stalled", "steady", receive_buffer=16_384) as (token, socket, since):
        await socket.send(TEXT, b"do flood 100000 60000")
        await asyncio.sleep(load.write_seconds + CLOSE_SECONDS + SLACK_SECONDS)
        widen(socket.connection)
        while await socket.message() is not None:
            pass
        load.endings.client(token, socket.how, "1013 backpressure", INSIDE, CUT, since=since)
        load.endings.service(token, *GIVEN_UP, since=since)


async def ageing(load: ChaosLoad) -> None:
    """Stays until `max_age`."""
    async with opened(load, "ages", "aged") as (token, socket, since):
        await talk(load, socket, token, 1)
        await socket.message()
        load.endings.client(token, socket.how, "1001 max_age", since=since)
        load.endings.service(token, "1001 max_age", since=since, within=SLACK_SECONDS)


async def carried_over(load: ChaosLoad) -> None:
    """Endpoints die under it, others take over: answers may be lost then, but none comes twice or late.

    They die less often than the gateway tries in a row; it begins to count anew only when one has lived for a while.
    """
    async with opened(load, "carried", "both") as (token, socket, since):
        last = -1
        deaths = 0
        for number in range(load.choose.choice((20, 60))):
            dies = deaths < MOST_DEATHS and load.choose.random() < 0.05
            deaths += dies
            await socket.send(TEXT, f"do die {load.choose.choice(('rst', 'fin'))}".encode() if dies else b"%d" % number)
            try:
                async with asyncio.timeout(0.1):
                    answer = await socket.message()
            except TimeoutError:
                continue
            if answer is None:
                break
            if int(answer) <= last:
                load.ledger.violation(f"{token}: answer {int(answer)} behind {last}")
            last = int(answer)
        if not socket.how:
            await socket.close(1000, "enough")
        load.endings.client(token, socket.how, "1000 enough", since=since, service="shaky")
        load.endings.service(token, "1000 enough", NO_CLOSE, since=since, service="shaky", optional=True)


SOCKET_ROLES: dict[Role, int] = {
    talking: 5,
    told_to_close: 2,
    staying: 4,
    vanishing: 2,
    lying: 1,
    garbage: 1,
    lied_to: 1,
    bereaved: 1,
    silent: 1,
    unheard: 1,
    reading_slowly: 2,
    stalled: 1,
    ageing: 1,
    carried_over: 2,
}
"""How many clients play each role at a time."""
