"""Hostile and broken TLS clients: everything is freed in time, and nobody else notices."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
import struct
from typing import Any

import pytest

from propylon.inbound import tls_handshake
from tests.e2e.test_tls_listener import client, listening
from tests.outbound.conftest import OPENSSL
from tests.support.deadline import settle, within
from tests.support.front import Fronts
from tests.support.tls import Certificates, MemoryPeer
from tests.support.upstream import answer, ok

CONNECTIONS = 2000
AT_ONCE = 50


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def hello(context: ssl.SSLContext) -> bytes:
    return MemoryPeer(context, "localhost").take()


async def attack(port: int, number: int, first_flight: bytes) -> None:
    """One broken connection; ten kinds take turns."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    try:
        await loop.sock_connect(sock, ("127.0.0.1", port))
        kind = number % 10
        dice = random.Random(number)
        data = {
            0: b"",
            1: first_flight[: dice.randrange(1, len(first_flight))],
            2: dice.randbytes(100),
            3: b"\x16\x03\x01\xff\xff" + dice.randbytes(200),
            4: b"GET / HTTP/1.1\r\n\r\n",
            5: first_flight,
            6: first_flight + dice.randbytes(50),
            7: b"\x15\x03\x01\x00\x02\x02\x28",
            8: first_flight[:40] + b"\0" * 60,
            9: b"\x80\x2e\x01\x00\x02" + bytes(50),
        }[kind]
        if data:
            await loop.sock_sendall(sock, data)
        if number % 3 == 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        elif number % 3 == 1:
            sock.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(sock, 65536):
                pass
    except ConnectionError:
        pass
    finally:
        sock.close()


async def test_two_thousand_broken_handshakes_leave_nothing(front: Fronts, certificates: Certificates) -> None:
    f = await front(answer(ok(b"hi")), listen=listening(certificates))
    context = certificates.client()
    async with client(f, context) as steady:
        assert (await steady.ask()).body == b"hi"
        first_flight = hello(certificates.client())
        before = open_files()
        for start in range(0, CONNECTIONS, AT_ONCE):
            await asyncio.gather(*[attack(f.port, number, first_flight) for number in range(start, start + AT_ONCE)])
        assert (await steady.ask()).body == b"hi"
        worker = f.gateway._worker
        assert worker is not None
        async with within(5, "everything is freed"):
            while worker.connections > 1 or open_files() > before:
                await settle()


@pytest.mark.parametrize("share", [0, 1, 0.5, 0.99])
async def test_a_handshake_that_stands_still_is_cut_in_time(
    front: Fronts, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(tls_handshake, "HANDSHAKE_SECONDS", 0.05)
    f = await front(listen=listening(certificates))
    reader, writer = await asyncio.open_connection("127.0.0.1", f.port)
    first_flight = hello(certificates.client())
    writer.write(first_flight[: round(len(first_flight) * share)])
    async with within(3, "the connection is cut"):
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass  # a reset is a cut as well
    writer.close()
    assert f.gateway._worker is not None
    assert f.gateway._worker.connections == 0


async def test_a_renegotiation_is_refused_in_words(front: Fronts, certificates: Certificates) -> None:
    """A client that may ask for handshake after handshake makes the gateway work more than itself."""
    assert OPENSSL is not None
    f = await front(answer(ok(b"hi")), listen=listening(certificates))
    arguments = ["s_client", "-tls1_2", "-connect", f"127.0.0.1:{f.port}", "-CAfile", certificates.path("ca")]
    process = await asyncio.create_subprocess_exec(
        OPENSSL,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"R\n")
    try:
        async with within(5, "the client learns that there is no renegotiation"):
            said = b""
            while b"no renegotiation" not in said:
                piece = await process.stdout.read(65536)
                assert piece, said
                said += piece
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_an_oversize_record_and_one_cut_off_end_the_connection(front: Fronts, certificates: Certificates) -> None:
    f = await front(answer(ok(b"hi")), listen=listening(certificates))
    for raw in (b"\x17\x03\x03\xff\xff" + bytes(1000), b"\x17\x03\x03\x00\x20" + bytes(10)):
        peer = MemoryPeer(certificates.client(), "localhost")
        reader, writer = await asyncio.open_connection("127.0.0.1", f.port)
        async with within(5, "the handshake, and its end"):
            while not peer.ready:
                writer.write(peer.take())
                if not peer.ready:
                    peer.give(await reader.read(65536))
            writer.write(peer.take() + raw)
            writer.write_eof()
            while await reader.read(65536):
                pass
        writer.close()
    async with client(f, certificates.client()) as connection:
        assert (await connection.ask()).body == b"hi"


async def test_a_client_that_closes_in_the_middle_of_an_answer_frees_the_service(
    front: Fronts, certificates: Certificates
) -> None:
    async def endless(connection: Any) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n" + bytes(1_000_000))
        await connection.gone()

    f = await front(endless, listen=listening(certificates))
    async with client(f, certificates.client()) as connection:
        connection.writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert await connection.reader.read(100)
    await f.upstream.until(lambda: all(each.eof for each in f.upstream.connections), "the endpoint's connection closed")
