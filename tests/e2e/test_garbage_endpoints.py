"""Endpoints that do not speak HTTP/1.1: told at once, and their first bytes shown to the operator only."""

from __future__ import annotations

import logging

import pytest

from propylon import Gateway
from tests.support.checks import assert_problem
from tests.support.client import request_bytes
from tests.support.front import Fronts
from tests.support.upstream import UpstreamConnection, answer, ok

GARBAGE = {
    "ssh": (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "'SSH-2.0-OpenSSH_9.2p1 Debian-2\\r\\n'"),
    "bare LF": (b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", "bare LF"),
    "bare LF later": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\n\nok", "bare LF"),
    "http2": (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00", "no response of HTTP/1.1"),
    "tls alert": (b"\x15\x03\x01\x00\x02\x02\x0a", "https://"),
    "smtp": (b"220 mail.example ESMTP\r\n", "220 mail.example"),
    "no line": (b"\x00\xff" * 30, r"\x00\xff"),
}


@pytest.mark.parametrize("early", [True, False], ids=["unasked", "asked"])
@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_is_told_at_once(front: Fronts, caplog: pytest.LogCaptureFixture, name: str, early: bool) -> None:
    said, told = GARBAGE[name]

    async def script(connection: UpstreamConnection) -> None:
        if not early:
            await connection.request()
        connection.send(said)  # and the connection stays open

    f = await front(script, policies=[{"timeout": {"response": "60s", "connect": "60s"}}])
    f.upstream.tolerant = True
    client = await f.client()
    with caplog.at_level(logging.WARNING, "propylon.engine"):
        reply = await client.ask(request_bytes())
    assert assert_problem(reply, 502) == "head.bad"
    logged = next(record.getMessage() for record in caplog.records if "head.bad" in record.getMessage())
    assert logged.isprintable()
    if not early:  # otherwise it may have come before the request was written
        assert told.replace("\\", "\\\\") in logged  # a backslash is doubled in quotes
    for piece in (said[:8], b"SSH", b"ESMTP", b"https", b"LF"):
        assert piece not in reply.body


async def test_the_head_of_a_response_may_be_larger_where_it_is_allowed(front: Fronts) -> None:
    large = b"x-large: " + b"y" * 100_000
    upstream = await front.upstream(answer(ok(b"ok", large)))
    for limit, status in ((None, 502), ("200KiB", 200), ("1KiB", 502)):
        gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
        gateway.service("s", [upstream.url], connections={"response_head": limit} if limit else {})
        gateway.route("/*", service="s")
        client = await front.client(await front.start(gateway))
        reply = await client.ask(request_bytes())
        assert reply.status == status
        if status == 502:
            assert assert_problem(reply, 502) == "head.bad"
