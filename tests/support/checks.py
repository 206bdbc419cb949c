"""What every refusal must look like, whatever was refused."""

from __future__ import annotations

import re

from .client import RawClient, Reply
from .deadline import PATIENCE, settle
from .upstream import ScriptedUpstream

CODE = re.compile(r"[a-z]+\.[a-z_]+\Z")
LEAKS = re.compile(rb"127\.0\.0\.1|Traceback|Error\(|Exception|at 0x[0-9a-f]{6}|\.py\b")


def assert_problem(reply: Reply, *statuses: int) -> str:
    """A gateway's own answer: problem+json (RFC 9457) with code and request id, nothing internal. Returns the code."""
    assert reply.status in statuses, f"{reply.status} instead of {statuses}: {bytes(reply.body)!r}"
    content_type = reply.header("content-type") or ""
    assert content_type.split(";")[0] == "application/problem+json", content_type
    problem = reply.json()
    assert problem["status"] == reply.status
    assert CODE.match(problem["code"]), problem
    assert len(str(problem["request_id"])) >= 8, problem
    leak = LEAKS.search(reply.body)
    assert leak is None, f"{leak!r} in {bytes(reply.body)!r}"
    code: str = problem["code"]
    return code


async def assert_refused(client: RawClient, *statuses: int, method: str = "GET") -> str:
    """The next answer is a problem with one of `statuses`, says close, and the connection is closed after it."""
    reply = await client.reply(method)
    code = assert_problem(reply, *statuses)
    assert (reply.header("connection") or "").lower() == "close"
    await client.assert_closed()
    return code


async def assert_nothing_upstream(upstream: ScriptedUpstream) -> None:
    """Not one byte has gone upstream."""
    await settle()
    assert upstream.received == b"", f"went upstream: {upstream.received[:300]!r}"


async def assert_no_whole_request(upstream: ScriptedUpstream) -> None:
    """What had gone upstream, if anything, was cut off before its end: no request was whole, no connection is open."""
    await settle()
    for connection in upstream.connections:
        assert not connection.oracle.complete, f"a whole request went upstream: {bytes(connection.received)!r}"
        if connection.received:
            await connection.gone()


async def assert_still_serves(port: int, seconds: float = PATIENCE, target: bytes = b"/") -> None:
    """The gateway answers a plain request on a new connection with 200."""
    async with RawClient(port) as client:
        await client.send(b"GET " + target + b" HTTP/1.1\r\nhost: a.example\r\n\r\n")
        assert (await client.reply(seconds=seconds)).status == 200


def words(value: str | None) -> set[str]:
    """The members of a comma list, lower case."""
    return {word.strip().lower() for word in (value or "").split(",")}
