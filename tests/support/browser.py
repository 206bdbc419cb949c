"""A real browser: Chromium without a window, told what to do through its DevTools protocol. No driver is needed.

A test uses it so:

    async with browser.tab("http://127.0.0.1:8080/") as tab:
        assert await tab.run("return document.title") == "Chat"
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from websockets.asyncio.client import ClientConnection, connect

from .deadline import PATIENCE, within

CHROMIUM = shutil.which("chromium")
START_SECONDS = 30.0  # on a machine that is busy with other things
LOAD_SECONDS = 8.0
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--disable-features=BackForwardCache", "--ignore-certificate-errors", "--remote-debugging-port=0",
    "--window-size=900,700",
)  # fmt: skip


class Tab:
    """One page."""

    def __init__(self, devtools: ClientConnection) -> None:
        self._devtools = devtools
        self._asked = 0
        self._happened: set[str] = set()

    async def open(self, url: str) -> None:
        """Go to a page, and wait until it is loaded."""
        await self._ask("Page.enable", PATIENCE)
        self._happened.clear()
        await self._ask("Page.navigate", LOAD_SECONDS, url=url)
        async with within(LOAD_SECONDS, f"the browser loads {url}"):
            while "Page.loadEventFired" not in self._happened:
                await self._receive()

    async def run(self, script: str, seconds: float = LOAD_SECONDS) -> Any:
        """The value that the body of an async function in JavaScript returns, as far as JSON has it."""
        expression = f"(async () => {{ {script} }})()"
        answer = await self._ask(
            "Runtime.evaluate", seconds, expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]["exception"]
        return answer["result"].get("value")

    async def _ask(self, method: str, seconds: float, **parameters: Any) -> dict[str, Any]:
        self._asked += 1
        await self._devtools.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        async with within(seconds, f"the browser answers {parameters}"):
            while (answer := await self._receive()).get("id") != self._asked:
                pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def _receive(self) -> dict[str, Any]:
        """The next message: an answer, or an event, which is noted."""
        message: dict[str, Any] = json.loads(await self._devtools.recv())
        self._happened.add(message.get("method", ""))
        return message


class Browser:
    """A running Chromium, with an empty profile."""

    def __init__(self, folder: Path) -> None:
        if CHROMIUM is None:
            pytest.fail("these tests need a browser: install chromium (Debian: apt-get install chromium)")
        self._log = folder / "chromium.log"
        profile = folder / "profile"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._address = self._listens(profile / "DevToolsActivePort")

    def _listens(self, file: Path) -> str:
        """Wait until it has written where it listens."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if file.exists() and (text := file.read_text()).count("\n"):
                return f"127.0.0.1:{text.splitlines()[0]}"
            time.sleep(0.05)  # another process writes the file, and tells nobody when
        self.end()
        pytest.fail(f"the browser does not start: {self._log.read_text()[-2000:]}")

    @asynccontextmanager
    async def tab(self, url: str) -> AsyncIterator[Tab]:
        """A new page, loaded."""
        made = await asyncio.to_thread(self._call, "PUT", "new?about:blank")
        async with connect(made["webSocketDebuggerUrl"], max_size=None) as devtools:
            tab = Tab(devtools)
            await tab.open(url)
            yield tab
        await asyncio.to_thread(self._call, "GET", f"close/{made['id']}")

    def _call(self, method: str, what: str) -> Any:
        with urlopen(Request(f"http://{self._address}/json/{what}", method=method), timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith(b"{") else text

    def end(self) -> None:
        """End it, and the children it has left."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
