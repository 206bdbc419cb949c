"""The process of a gateway that has it to itself: signals end and reload it, and its settings are the gateway's."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from propylon import Gateway
from propylon.inbound.listener import ListenError
from propylon.runtime import process as module
from propylon.runtime.process import (
    GC_THRESHOLDS,
    NO_FULL_COLLECTION,
    TURN_SECONDS,
    LongLived,
    Process,
    run_loop,
    small_turns,
)
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import settle, until, within

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Put back what a gateway does to its process."""
    before = gc.get_threshold(), logging.getLogger().level, {each: signal.getsignal(each) for each in HANDLED}
    yield
    gc.unfreeze()
    gc.set_threshold(*before[0])
    logging.getLogger().setLevel(before[1])
    for number, handler in before[2].items():
        signal.signal(number, handler)


def file_of(folder: Path, body: str = "one", level: str = "warning") -> Path:
    path = folder / "gateway.yaml"
    path.write_text(f"listen: 127.0.0.1:0\nlog: {{level: {level}}}\nroutes: [{{path: /*, respond: {body}}}]\n")
    return path


@asynccontextmanager
async def serving(gateway: Gateway, *, watch: bool = False) -> AsyncIterator[asyncio.Task[None]]:
    """Serve, and end it if a signal has not."""
    task = asyncio.create_task(Process(gateway).serve(watch))
    try:
        await until(lambda: gc.get_threshold() == GC_THRESHOLDS or task.done())
        yield task
    finally:
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        async with within(5, "the process ends"):
            await task


# signals


@pytest.mark.parametrize(
    ("number", "restart"), [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGUSR2, True)]
)
async def test_a_signal_ends_it_and_says_whether_it_comes_back(
    number: signal.Signals, restart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    stop = Gateway.stop

    async def stopping(self: Gateway, *, restart: bool = False) -> None:
        told.append(restart)
        await stop(self, restart=restart)

    monkeypatch.setattr(Gateway, "stop", stopping)
    gateway = Gateway().route("/*", respond="ok")
    async with serving(gateway) as task:
        assert gateway.addresses
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # twice is no harm
        await until(task.done)
    assert told == [restart]
    assert gateway.addresses == []


async def test_a_signal_ends_it_while_it_waits_for_endpoints() -> None:
    begun = asyncio.Event()

    async def never() -> AsyncIterator[list[str]]:
        begun.set()
        await asyncio.Event().wait()
        yield []

    gateway = Gateway().service("users", discover={"python": never}).route("/*", service="users")
    task = asyncio.create_task(Process(gateway).serve(False))
    await begun.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    async with within(2, "the process ends"):
        await task
    assert gateway.addresses == []


async def test_a_gateway_that_cannot_start_says_so() -> None:
    async with Gateway().route("/*", respond="ok") as other:
        gateway = Gateway(listen=other.addresses[0]).route("/*", respond="ok")
        with pytest.raises(ListenError, match="already in use"):
            await Process(gateway).serve(False)


async def test_sighup_reloads_it(tmp_path: Path) -> None:
    gateway = Gateway.load(file_of(tmp_path))
    async with serving(gateway) as task:
        file_of(tmp_path, "two")
        os.kill(os.getpid(), signal.SIGHUP)
        async with RawClient(gateway.port) as client, within(5, "the new configuration"):
            while (await client.ask(request_bytes())).body != b"two":
                pass
        assert not task.done()


async def test_a_terminal_that_is_closed_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = [True]
    monkeypatch.setattr(module, "_is_terminal", lambda: terminal[0])
    async with serving(Gateway().route("/*", respond="ok")) as task:
        os.kill(os.getpid(), signal.SIGHUP)
        await settle()
        assert not task.done(), "with its terminal still there it is a reload"
        terminal.clear()
        terminal.append(False)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(task.done)


# settings


async def test_the_collector_and_the_log_are_the_gateways(tmp_path: Path) -> None:
    gateway = Gateway.load(file_of(tmp_path))
    async with serving(gateway):
        assert gc.get_threshold() == GC_THRESHOLDS
        assert gc.get_freeze_count()
        gc.unfreeze()
        file_of(tmp_path, level="error")
        during: list[object] = []
        reloader = gateway.reloader
        assert reloader is not None
        adopt = reloader._adopt
        reloader._adopt = lambda *made: (during.append(gc.get_threshold()), adopt(*made))[1]
        await gateway.reload()
        assert during == [NO_FULL_COLLECTION]
        assert gc.get_freeze_count(), "what a reload has made stays for long"
        assert gc.get_threshold() == GC_THRESHOLDS
        assert logging.getLogger().level == logging.ERROR
        gc.unfreeze()
        file_of(tmp_path, level="nonsense")
        with contextlib.suppress(Exception):
            await gateway.reload()
        assert gc.get_freeze_count() == 0, "what a failed reload has made is not kept"
        assert logging.getLogger().level == logging.ERROR
    assert gateway.reloader is None


async def test_it_looks_for_changed_files_if_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("propylon.runtime.changed_files.LOOK_SECONDS", 0)
    gateway = Gateway.load(file_of(tmp_path))
    async with serving(gateway, watch=True), RawClient(gateway.port) as client:
        file_of(tmp_path, "another")
        async with within(5, "the new configuration"):
            while (await client.ask(request_bytes())).body != b"another":
                pass


async def test_it_looks_for_changed_new_and_removed_files_that_are_included(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("propylon.runtime.changed_files.LOOK_SECONDS", 0)
    parts = tmp_path / "conf.d"
    parts.mkdir()
    (tmp_path / "gateway.yaml").write_text("listen: 127.0.0.1:0\ninclude: conf.d\n")
    gateway = Gateway.load(tmp_path / "gateway.yaml")

    async def becomes(status: int, body: bytes = b"") -> None:
        async with within(5, f"{status} {body!r}"):
            while (reply := await client.ask(request_bytes())).status != status or not reply.body.startswith(body):
                pass

    async with serving(gateway, watch=True), RawClient(gateway.port) as client:
        await becomes(404)
        (parts / "a.yaml").write_text("routes: [{path: /*, respond: one}]\n")
        await becomes(200, b"one")
        (parts / "b.yaml").write_text("nope: 1\n")
        (parts / "a.yaml").write_text("routes: [{path: /*, respond: two}]\n")
        await becomes(200, b"one")
        (parts / "b.yaml").write_text("routes: []\n")
        await becomes(200, b"two")
        (parts / "a.yaml").unlink()
        await becomes(404)


@pytest.mark.parametrize("name", ["uvloop", "asyncio"])
def test_it_runs_on_uvloop_where_there_is_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    loops: list[str] = []

    async def main() -> None:
        loops.append(type(asyncio.get_running_loop()).__module__.partition(".")[0])

    run_loop(main())
    assert loops == [name]


def test_turns_are_small_only_as_long_as_it_lasts() -> None:
    before = gc.get_threshold(), sys.getswitchinterval()
    with small_turns():
        assert (gc.get_threshold(), round(sys.getswitchinterval(), 6)) == (NO_FULL_COLLECTION, TURN_SECONDS)
    assert (gc.get_threshold(), sys.getswitchinterval()) == before


def test_garbage_is_found_before_it_is_frozen() -> None:
    try:
        gc.disable()
        kept = LongLived()
        ring: list[object] = []
        ring.append(ring)
        number = id(ring)
        gc.freeze()
        del ring
        kept.keep()
        gc.unfreeze()
        assert number not in map(id, gc.get_objects())
    finally:
        gc.enable()
