"""The discovery example, as its README says, in a copy whose files may be changed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.client import RawClient, request_bytes
from tests.support.example import EXAMPLES
from tests.support.process import Process, running, started

LISTEN = {"LISTEN": "127.0.0.1:0"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(EXAMPLES / "discovery", tmp_path / "discovery", ignore=shutil.ignore_patterns("registered"))


@asynccontextmanager
async def service(folder: Path) -> AsyncIterator[tuple[Process, int]]:
    async with started(sys.executable, "service.py", folder=folder, environment={"PORT": "0"}) as process:
        yield process, await process.port()


def write(folder: Path, *lines: str) -> None:
    """Write the list as other programs do: whole, by a rename."""
    (folder / "new.yaml").write_text("".join(f"- {line}\n" for line in lines))
    os.replace(folder / "new.yaml", folder / "endpoints.yaml")


async def ports(client: RawClient, path: bytes) -> set[int]:
    return {(await client.ask(request_bytes(path))).json()["port"] for _ in range(6)}


async def test_the_endpoints_of_a_file_are_followed_and_nonsense_changes_nothing(folder: Path) -> None:
    async with service(folder) as (_, one), service(folder) as (_, two):
        write(folder, f"http://127.0.0.1:{one}", f"http://127.0.0.1:{two}")
        async with running(folder, "gateway.yaml", LISTEN) as gateway, RawClient(await gateway.port()) as client:
            assert await ports(client, b"/listed/a") == {one, two}
            write(folder, f"http://127.0.0.1:{two}")
            await gateway.said(f"listed: -http://127.0.0.1:{one}$")
            assert await ports(client, b"/listed/a") == {two}
            write(folder, "nonsense")
            await gateway.said("listed: discovery fails: .*endpoints.yaml:1:.*the last 1 endpoints stay")
            assert await ports(client, b"/listed/a") == {two}


async def test_a_service_that_registers_itself_gets_requests_until_it_stops(folder: Path) -> None:
    async with (
        service(folder) as (_, one),
        running(folder, "gateway.yaml", LISTEN) as gateway,
        RawClient(await gateway.port()) as client,
    ):
        assert await ports(client, b"/registered/a") == {one}
        async with service(folder) as (second, two):
            await gateway.said(rf"registered: \+http://127.0.0.1:{two}$")
            assert await ports(client, b"/registered/a") == {one, two}
            second.signal(signal.SIGTERM)
            await gateway.said(f"registered: -http://127.0.0.1:{two}$")
            assert await ports(client, b"/registered/a") == {one}
            assert await second.ended() == 0
