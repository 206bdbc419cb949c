"""Clients that never become one: handshakes that are cut, wrong or left half done; and processes that are stopped."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from bench.chaos.endings import CUT
from bench.chaos.socket_roles import CLIENT_GONE, CLOSE_SECONDS, GIVEN_UP, NO_CLOSE, SLACK_SECONDS
from bench.chaos.websocket import handshake
from bench.chaos.wire import client_hello, connect
from bench.soak.ledger import is_problem
from bench.soak.programs import ROOT

if TYPE_CHECKING:
    from bench.chaos.load import ChaosLoad
    from bench.soak.load import Role

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
WRONG: tuple[tuple[int, bytes, bytes], ...] = (
    (400, b"connection: upgrade", b"connection: keep-alive"),
    (400, b"sec-websocket-key: " + KEY, b"sec-websocket-key: c2hvcnQ="),
    (400, b"sec-websocket-key: " + KEY, b"x: y"),
    (426, b"version: 13", b"version: 8"),
    (400, b"GET ", b"PUT "),
    (404, b"/sockets/", b"/nowhere/"),
)
"""Statuses, and what is replaced by what in a good handshake to get them."""


async def cutting(load: ChaosLoad) -> None:
    """Cuts a handshake behind each of its bytes, one after the other."""
    whole = handshake(f"/sockets/steady/{load.token('cuts')}", KEY)
    for at in range(1, len(whole) + 1):
        await load.turn()
        if load.stopping:
            return
        token, since = load.token("cuts"), monotonic()
        whole = handshake(f"/sockets/steady/{token}", KEY)
        connection = await load.connect()
        await connection.send(whole[:at])
        if load.choose.random() < 0.5:
            await asyncio.sleep(0.002)  # else the gateway may see the end together with the beginning
        connection.reset() if load.choose.random() < 0.3 else connection.close()
        if at == len(whole):  # it was a WebSocket, if only for a moment
            load.endings.service(token, CLIENT_GONE, NO_CLOSE, since=since, optional=True)
        load.ledger.count("handshakes cut")


async def cutting_tls(load: ChaosLoad) -> None:
    """Cuts the first message of a TLS handshake behind each of its bytes, one after the other."""
    hello = client_hello()
    for at in range(1, len(hello) + 1):
        await load.turn()
        if load.stopping:
            return
        connection = await connect(load.tls_port, None)
        await connection.send(hello[:at])
        if load.choose.random() < 0.5:
            await asyncio.sleep(0.002)
        connection.reset() if load.choose.random() < 0.3 else connection.close()
        load.ledger.count("TLS handshakes cut")


async def wrong_handshake(load: ChaosLoad) -> None:
    """Is refused as HTTP, and no service hears of it."""
    await load.turn()
    status, good, bad = load.choose.choice(WRONG)
    connection = await load.connect()
    try:
        await connection.send(handshake(f"/sockets/steady/{load.token('wrong')}", KEY).replace(good, bad))
        reply = await connection.reply(b"GET")
        if reply is None or reply.status != status or not is_problem(reply, b"GET"):
            load.ledger.violation(f"a handshake with {bad!r}: {reply} instead of {status}")
        load.ledger.count(f"wrong handshakes: {status}")
    finally:
        connection.reset()


async def half_open(load: ChaosLoad) -> None:
    """Sends a part of a handshake, of TLS or nothing at all, and waits until the gateway has had enough of it."""
    await load.turn()
    whole = handshake("/sockets/steady/never", KEY)
    part = load.choose.choice((whole[: load.choose.randint(1, len(whole) - 1)], b"\x16\x03\x01\x02\x00\x01", b""))
    connection = await load.connect(plain=True)
    try:
        await connection.send(part)
        reply = await connection.reply(b"GET")
        if reply is not None and reply.status not in (400, 408):
            load.ledger.violation(f"half a handshake: {reply}")
        if await connection.rest():
            load.ledger.violation("half a handshake got more than one answer")
        load.ledger.count(f"half-open: {CUT if reply is None else reply.status}")
    finally:
        connection.reset()


async def frozen(load: ChaosLoad) -> None:
    """A process that is stopped in the middle of a stream, as a machine that has lost its network: nothing is said.

    Its WebSocket answers no ping, its event stream takes nothing any more. When it goes on, it finds itself cut.
    """
    await load.turn()
    kind = load.choose.choice(("socket", "flooded", "events"))
    token, since = load.token("frozen"), monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.chaos.frozen", str(load.port), kind, token),
        stdin=DEVNULL,
        stdout=PIPE,
        cwd=ROOT,
        start_new_session=True,  # or the end of the shell that began the run would wake it, and end it (SIGHUP)
    )
    try:
        assert process.stdout is not None
        if await process.stdout.readline() != b"ready\n":
            load.ledger.violation(f"{token}: the client does not get its stream")
            return
        process.send_signal(signal.SIGSTOP)
        settings = load.settings
        given_up = max(2 * settings.ping_seconds + settings.pong_seconds, 2 * settings.write_seconds)
        await asyncio.sleep(given_up + CLOSE_SECONDS + SLACK_SECONDS)
        allowed = {"socket": (CLIENT_GONE,), "flooded": GIVEN_UP, "events": ("gone",)}[kind]
        load.endings.service(token, *allowed, since=since, within=0.0)
        process.send_signal(signal.SIGCONT)
        if await process.stdout.readline() != b"ended\n":
            load.ledger.violation(f"{token}: the client that was stopped does not find its stream ended")
        load.ledger.count(f"frozen: {kind}")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


HOSTILE_ROLES: dict[Role, int] = {cutting: 1, cutting_tls: 1, wrong_handshake: 1, half_open: 2, frozen: 2}
"""How many clients play each role at a time."""
