"""The clients: most are polite, the others are what a gateway meets on the Internet.

A role is one client's life on one connection. What it cuts itself is counted and not judged; everything else is.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from bench.soak.asks import Ask, new_token, ordinary, upload_of
from bench.soak.ledger import is_problem
from bench.soak.settings import BODY_LIMIT

if TYPE_CHECKING:
    from bench.soak.load import Load, Role
    from bench.soak.wire import Connection

MOMENTS = ("at once", "in the head", "in the upload", "before the answer", "in the answer", "pipelined")
HUGE_BYTES = 6_000_000  # more than all buffers on the way hold
MALFORMED: tuple[tuple[bytes, int], ...] = (
    (b"GET /steady/x HTTP/1.1\r\n\r\n", 400),
    (b"GET /steady/x HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    (b"GET /steady/../x HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    (b"GET /steady/x HTTP/3.0\r\nhost: a\r\n\r\n", 505),
    (b"GET  /steady/x HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    (b"GET /steady/x HTTP/1.1\nhost: a\n\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    (b"CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n", 405),
    (b"POST /steady/x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /steady/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", 400),
    (b"POST /steady/x HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\nabc", 400),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414),
    (b"GET /steady/x HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 40_000 + b"\r\n\r\n", 431),
)


async def keep_alive(load: Load) -> None:
    """Many requests, one behind the other."""
    connection = await load.connect()
    try:
        for _ in range(load.choose.choice((1, 5, 50, 200))):
            await load.turn()
            if load.stopping or not await load.exchange(connection, ordinary(load.choose)):
                return
    finally:
        connection.close()


async def pipelining(load: Load) -> None:
    """Several requests in one write, answers in their order."""
    connection = await load.connect()
    try:
        for _ in range(load.choose.choice((1, 3, 10))):
            asks = [ordinary(load.choose) for _ in range(load.choose.randint(2, 12))]
            await load.turn(len(asks))
            if load.stopping or not await pipeline(load, connection, asks):
                return
    finally:
        connection.close()


async def pipeline(load: Load, connection: Connection, asks: list[Ask]) -> bool:
    """Send requests together while reading their answers; say whether the connection can be used again."""
    since = monotonic()
    sending = asyncio.create_task(send_all(connection, b"".join(ask.raw for ask in asks)))
    try:
        for number, ask in enumerate(asks, 1):
            reply = await connection.reply(ask.method)
            load.ledger.settle(ask, reply, since)
            if reply is None or not reply.complete or reply.closes:
                for _ in asks[number:]:
                    load.ledger.count("pipelined behind the last answer of a connection")
                return False
        return True
    finally:
        sending.cancel()


async def send_all(connection: Connection, data: bytes) -> None:
    """Send what may be more than the gateway takes before it is read from."""
    try:
        await connection.send(data)
    except (ConnectionError, TimeoutError):
        pass


async def uploading(load: Load) -> None:
    """An upload in pieces with pauses, half of them behind `Expect: 100-continue`."""
    await load.turn()
    connection = await load.connect()
    token = new_token()
    chunked, expects = load.choose.random() < 0.5, load.choose.random() < 0.5
    upload = upload_of(token, load.choose.choice((100, 60_000, 400_000)))
    ask = Ask(token, "steady", b"POST", upload, chunked, size=1000, expects=expects)
    try:
        if not expects:
            await load.exchange(connection, ask, pause=0.01)
            return
        since = monotonic()
        await connection.send(ask.head)
        interim = await connection.reader.readuntil(b"\r\n\r\n")
        if not interim.startswith(b"HTTP/1.1 100 "):
            load.ledger.violation(f"{token.decode()}: {interim[:60]!r} instead of 100 Continue")
        await connection.send(b"".join(ask.body))
        load.ledger.settle(ask, await connection.reply(ask.method), since)
    finally:
        connection.close()


async def slow_reader(load: Load) -> None:
    """A large answer, taken by a small buffer and slowly, but taken whole."""
    await load.turn()
    connection = await load.connect(receive_buffer=16_384)
    try:
        options = load.choose.choice(("", "chunked=1"))
        service = load.choose.choice(("steady", "policed"))
        await load.exchange(connection, Ask(new_token(), service, size=1_000_000, options=options), pause=0.01)
    finally:
        connection.close()


async def stalled(load: Load) -> None:
    """Takes nothing of a large answer: the gateway must cut it off, and what is there must be the beginning of it."""
    await load.turn()
    connection = await load.connect(receive_buffer=16_384)
    ask = Ask(new_token(), "steady", size=HUGE_BYTES, options="chunked=1")
    try:
        await connection.send(ask.raw)
        await asyncio.sleep(load.write_seconds + 1.0)
        reply = await connection.reply(ask.method)
        if reply is not None and (reply.complete or not ask.answer.startswith(reply.body)):
            load.ledger.violation(f"{ask.token.decode()}: a stalled client got {len(reply.body)} bytes, cut: no")
        load.ledger.count("stalled and cut off")
    finally:
        connection.close()


async def early_answers(load: Load) -> None:
    """Half an upload, then the answer is there already; the connection is used again if the gateway keeps it."""
    await load.turn(2)
    connection = await load.connect()
    token = new_token()
    refused = load.choose.random() < 0.5
    upload = upload_of(token, load.choose.choice((100_000, 800_000)))
    chunked = load.choose.random() < 0.5
    ask = (
        Ask(token, "limited", b"POST", upload, chunked, status=413)
        if refused
        else Ask(token, "steady", b"POST", upload, chunked, size=500, options="early=1")
    )
    half = max(len(ask.body) // 2, BODY_LIMIT // 16_384 + 1)
    since = monotonic()
    try:
        await send_all(connection, ask.head + b"".join(ask.body[:half]))
        reply = await connection.reply(ask.method)
        load.ledger.settle(ask, reply, since)
        if reply is None or reply.closes or load.choose.random() < 0.3:
            return
        await connection.send(b"".join(ask.body[half:]))
        await load.exchange(connection, ordinary(load.choose))
    finally:
        connection.close()


async def malformed(load: Load) -> None:
    """What is no request: one answer of the right status, and the end of the connection."""
    await load.turn()
    raw, status = load.choose.choice(MALFORMED)
    connection = await load.connect()
    try:
        await send_all(connection, raw)
        reply = await connection.reply(b"GET")
        if reply is None or reply.status != status or not is_problem(reply, b"GET") or not reply.closes:
            load.ledger.violation(f"malformed {raw[:60]!r}: {reply} instead of {status}")
        elif await connection.rest():
            load.ledger.violation(f"malformed {raw[:60]!r}: more than one answer")
        load.ledger.count("malformed and refused")
    finally:
        connection.close()


async def aborting(load: Load) -> None:
    """Goes away in the worst moment, politely or with a RST."""
    await load.turn()
    connection = await load.connect()
    ask = ordinary(load.choose)
    moment = load.choose.choice(MOMENTS)
    try:
        if moment == "in the head":
            await send_all(connection, ask.head[: load.choose.randint(1, len(ask.head) - 1)])
        elif moment == "in the upload":
            token = new_token()
            ask = Ask(token, "steady", b"POST", upload_of(token, 300_000), load.choose.random() < 0.5, size=10)
            await send_all(connection, ask.head + b"".join(ask.body[: load.choose.randint(0, 9)]))
        elif moment == "before the answer":
            await send_all(connection, Ask(new_token(), "steady", size=100, options="wait=100").raw)
        elif moment == "in the answer":
            options = load.choose.choice(("pause=10", "pause=10&chunked=1"))
            service = load.choose.choice(("steady", "policed"))
            await send_all(connection, Ask(new_token(), service, size=800_000, options=options).raw)
            await connection.reader.readuntil(b"\r\n\r\n")
        elif moment == "pipelined":
            await send_all(connection, b"".join(ordinary(load.choose).raw for _ in range(5)))
        await asyncio.sleep(load.choose.choice((0, 0, 0.005, 0.05)))
        load.ledger.count(f"aborted {moment}")
    except (asyncio.IncompleteReadError, ConnectionError):
        load.ledger.violation(f"the gateway cut a client that was about to go, {moment}")
    finally:
        way = load.choose.choice(("close", "reset", "half"))
        if way == "half" and not connection.writer.is_closing():
            connection.half_close()
            await asyncio.sleep(0.01)
        connection.close() if way == "close" else connection.reset()


async def half_closing(load: Load) -> None:
    """Sends a FIN behind its request, and still gets its answer (RFC 9112 9.6)."""
    await load.turn()
    connection = await load.connect()
    ask = Ask(new_token(), "steady", size=load.choose.choice((10, 50_000)), options=load.choose.choice(("", "wait=20")))
    since = monotonic()
    try:
        await connection.send(ask.raw)
        connection.half_close()
        load.ledger.settle(ask, await connection.reply(ask.method), since)
    finally:
        connection.close()


async def resting(load: Load) -> None:
    """Connects, says nothing or once something, and waits until the gateway has had enough of it."""
    await load.turn()
    connection = await load.connect()
    try:
        if load.choose.random() < 0.5 and not await load.exchange(connection, ordinary(load.choose)):
            return
        if await connection.rest():
            load.ledger.violation("a resting client got bytes that it had not asked for")
        load.ledger.count("rested until closed")
    finally:
        connection.close()


ROLES: dict[Role, int] = {
    keep_alive: 12,
    pipelining: 4,
    uploading: 3,
    slow_reader: 2,
    stalled: 1,
    early_answers: 2,
    malformed: 1,
    aborting: 5,
    half_closing: 1,
    resting: 3,
}
"""How many clients play each role at a time."""
