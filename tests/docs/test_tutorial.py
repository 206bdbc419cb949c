"""The tutorial, from top to bottom: its files are written, its commands run, and they print what it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.test_service_mode import free_port

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r'^```([a-z]+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
PATIENCE_S = 60  # for the start of a process, on a crowded machine
PORTS = re.compile(r"\b(?:3001|3002|8080|8443)\b")


class Reader:
    """Somebody who does what the page says, in one folder, with free ports in place of those of the page."""

    def __init__(self, folder: Path, started: ExitStack) -> None:
        self.folder = folder
        self.started = started
        self.printed = ""
        self.log = folder / "log.txt"
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
        }

    def reads(self, kind: str, title: str, text: str) -> None:
        if "pip install" in text:
            return
        if kind == "text":
            self.sees(text)
        elif title == "background":
            for line in text.splitlines():
                self.starts(line)
        elif kind == "sh":
            self.runs(text)
        else:
            self.saves(title, text)

    def saves(self, title: str, text: str) -> None:
        before = self.log.read_text() if self.log.exists() else ""
        (self.folder / title).write_text(text)
        if before and title.endswith(".yaml"):
            self.waits(lambda: "took up" in self.log.read_text()[len(before) :], "the gateway takes up the file")

    def starts(self, line: str) -> None:
        log = self.log if "propylon" in line else self.folder / "services.txt"
        with log.open("w") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {line}"], cwd=self.folder, env=self.environment, stdout=out, stderr=out
            )
        self.started.callback(process.wait)
        self.started.callback(process.send_signal, signal.SIGTERM)
        if "propylon" in line:
            self.waits(lambda: "listening" in self.log.read_text(), "the gateway listens")
        else:
            port = line.split()[-1]
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
            assert line in printed, f"{line!r} is not in\n{self.printed}\n{self.log.read_text()}"
            printed = printed.replace(line, "", 1)

    def waits(self, happens: object, what: str) -> None:
        assert callable(happens)
        end = time.monotonic() + PATIENCE_S
        while not happens():
            assert time.monotonic() < end, f"{what}\n{self.log.read_text() if self.log.exists() else ''}"
            time.sleep(0.05)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with ExitStack() as started:
        yield Reader(tmp_path, started)


def test_the_tutorial_works_from_top_to_bottom(reader: Reader) -> None:
    ports: dict[str, str] = {}
    page = PORTS.sub(lambda found: ports.setdefault(found[0], str(free_port())), PAGE.read_text("utf-8"))
    blocks = BLOCK.findall(page)
    assert len(blocks) > 15
    for kind, title, text in blocks:
        reader.reads(kind, title, text)
