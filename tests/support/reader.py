"""Somebody who follows a page of the documentation: saves its files, runs its commands, compares what they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.support.ports import free_port

BLOCK = re.compile(r'^```([a-z]+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
PORTS = re.compile(r"\b(?:3001|3002|8080|8081|8443)\b")
PATIENCE_S = 60  # for the start of a process, on a crowded machine


class Reader:
    """Somebody who does what the page says, in one folder, with free ports in place of those of the page."""

    def __init__(self, folder: Path, started: ExitStack) -> None:
        self.folder = folder
        self.started = started
        self.printed = ""
        self.ports: dict[str, str] = {}
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
        }

    def reads(self, kind: str, title: str, text: str) -> None:
        if "pip install" in text:
            return
        if kind == "text":
            self.sees(text)
        elif title == "in a terminal of its own":
            for line in text.splitlines():
                self.starts(line)
        elif kind == "sh":
            self.runs(text)
        else:
            self.saves(title, text)

    def saves(self, title: str, text: str) -> None:
        log = self.folder / f"{title}.log"
        known = len(log.read_text()) if log.exists() else None
        (self.folder / title).write_text(text)
        if known is not None:
            self.waits(lambda: "took up" in log.read_text()[known:], "the gateway takes up the file")

    def starts(self, line: str) -> None:
        log = self.folder / f"{line.split()[-1]}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {line}"], cwd=self.folder, env=self.environment, stdout=out, stderr=out
            )
        self.started.callback(process.wait)
        self.started.callback(process.send_signal, signal.SIGTERM)
        if line.startswith("propylon"):
            self.waits(lambda: "listening" in log.read_text(), "the gateway listens")
        else:
            port = next(iter(re.findall(r"\b\d{4,5}\b", line)), self.ports["3001"])
            self.waits(lambda: self.shell(f"curl -s http://127.0.0.1:{port}/").returncode == 0, f"{line} answers")

    def runs(self, text: str) -> None:
        done = self.shell(text)
        self.printed = done.stdout
        assert done.returncode == 0, f"{text}\n{done.stdout}"

    def shell(self, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-ec", text], cwd=self.folder, env=self.environment, text=True, timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def sees(self, text: str) -> None:
        printed = self.printed
        for line in sorted(text.splitlines()) if "port" in text else text.splitlines():
            assert line in printed, f"{line!r} is not in\n{self.printed}\n{self.said()}"
            printed = printed.replace(line, "", 1)

    def waits(self, happens: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not happens():
            assert time.monotonic() < end, f"{what}\n{self.said()}"
            time.sleep(0.05)

    def said(self) -> str:
        """Return what all processes have logged."""
        return "\n".join(log.read_text() for log in self.folder.glob("*.log"))

    def follows(self, page: Path) -> int:
        """Do what a page says; return the number of its blocks."""
        text = PORTS.sub(lambda found: self.ports.setdefault(found[0], str(free_port())), page.read_text("utf-8"))
        blocks = BLOCK.findall(text)
        for block in blocks:
            self.reads(*block)
        return len(blocks)
