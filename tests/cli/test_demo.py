"""`propylon demo`: everything it says to try does what it says, and nothing is left when it ends."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from propylon.cli import demo
from propylon.cli.main import main

START_SECONDS = 15


@dataclass
class Running:
    """A demo in a process of its own."""

    process: subprocess.Popen[str]
    lines: list[str]

    @property
    def url(self) -> str:
        return self.lines[0].split()[3].rstrip(".")

    @property
    def config(self) -> Path:
        return Path(next(line.split()[1] for line in self.lines if line.startswith("  configuration")))

    @property
    def services(self) -> list[str]:
        return [line.split()[2] for line in self.lines if line.startswith("  service ")]

    def command(self, says: str) -> list[str]:
        """The command below a comment."""
        return shlex.split(self.lines[self.lines.index(f"  # {says}") + 1])


def start() -> Running:
    process = subprocess.Popen(
        [sys.executable, "-m", "propylon", "demo", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith("What passes"):
            break
    return Running(process, lines)


def end(running: Running) -> None:
    running.process.kill()
    running.process.communicate()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """One demo for all commands."""
    running = start()
    yield running
    end(running)


def curl(command: list[str]) -> tuple[str, str]:
    """Run a command of the demo; return its answer and what curl prints of it last: status and media type."""
    arguments = [*command, "--silent", "--max-time", "10", "--write-out", "\n%{http_code} %{content_type}"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=START_SECONDS)
    answer, _, summary = done.stdout.rpartition("\n")
    return answer, summary


@pytest.mark.parametrize(("says", "status"), [(says, status) for says, status, _ in demo.TRIES])
def test_every_command_gets_the_status_that_it_says(running: Running, says: str, status: int) -> None:
    _, summary = curl(running.command(f"{status}: {says}"))
    assert summary.split()[0] == str(status)


def test_the_gateways_own_failures_are_problem_details(running: Running) -> None:
    answer, summary = curl(["curl", f"{running.url}/nowhere"])
    assert summary == "404 application/problem+json"
    assert json.loads(answer)["code"] == "match.no_route"


def test_the_policy_changes_the_answer(running: Running) -> None:
    answer, _ = curl(["curl", "-H", "x-api-key: s3cret", f"{running.url}/members/2"])
    assert json.loads(answer)["greeting"] == "Welcome, Grace"


def test_the_stream_comes_in_pieces_of_unknown_length(running: Running) -> None:
    answer, _ = curl(["curl", "-i", f"{running.url}/shop/stream"])
    assert "transfer-encoding: chunked" in answer
    assert answer.count("piece ") == 5


def test_the_configuration_can_be_checked_and_explained_meanwhile(running: Running) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "propylon", "check", str(running.config)], capture_output=True, text=True, check=True
    )
    assert checked.stdout.startswith(f"{running.config}: ok")
    command = running.command("what would happen to a request, step by step")[1:]
    explained = subprocess.run([sys.executable, "-m", "propylon", *command], capture_output=True, text=True, check=True)
    assert "sends GET /people/2" in explained.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(number: signal.Signals) -> None:
    running = start()
    try:
        curl(["curl", f"{running.url}/users/1"])
        running.process.send_signal(number)
        said, _ = running.process.communicate(timeout=START_SECONDS)
    finally:
        end(running)
    assert running.process.returncode == 0
    assert re.search(r"GET /users/1 -> 200 by http://127\.0\.0\.1:[0-9]+ in [0-9.]+ ms", said)
    assert said.rstrip().endswith("are gone.")
    assert not running.config.parent.exists()
    for url in (running.url, *running.services):
        host, port = url.removeprefix("http://").split(":")
        with socket.socket() as probe:
            assert probe.connect_ex((host, int(port))) != 0


def test_the_next_port_is_taken_when_the_first_is_in_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(demo, "PREFERRED_PORT", port)
        found = demo._free_port()
    assert port < found < port + demo.PORTS_TO_TRY
    assert capsys.readouterr().out == f"Port {port} is in use: the demo takes {found}.\n"


def test_a_port_that_was_asked_for_is_not_replaced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["demo", "--port", str(port)])
    assert result.exit_code == 1
    assert f"127.0.0.1:{port}: address already in use" in result.stderr
    assert "choose another with --port" in result.stderr
