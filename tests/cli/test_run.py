"""`propylon run`."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("target", ["good.yaml", "app:gateway"])
def test_it_serves_until_a_signal(folder: Path, target: str) -> None:
    (folder / "app.py").write_text(
        (folder / "app.py").read_text().replace("Gateway(", "Gateway(listen='127.0.0.1:0', ", 1)
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [sys.executable, "-m", "propylon", "run", target], stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    try:
        port = next(
            int(found[1])
            for line in process.stderr
            if (found := re.search(r"listening on 127\.0\.0\.1:([0-9]+)", line))
        )
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 404 ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_warnings_are_logged_before_it_listens(folder: Path) -> None:
    (folder / "odd.yaml").write_text("listen: 127.0.0.1:0\nzone: a\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [sys.executable, "-m", "propylon", "run", "odd.yaml"], stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        assert "WARNING propylon.config odd.yaml:2:7: zone: has no effect: no endpoint has a zone" in first
    finally:
        process.kill()
        process.communicate()


def test_an_address_in_use_says_so(run: Any, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        (folder / "taken.yaml").write_text(f"listen: {address}")
        result = run("run", "taken.yaml")
    assert result.exit_code == 1
    assert f"cannot run taken.yaml: {address}: address already in use" in result.stderr


def test_an_address_of_another_machine_says_so(run: Any, folder: Path) -> None:
    (folder / "other.yaml").write_text("listen: 192.0.2.1:8080")
    result = run("run", "other.yaml")
    assert result.exit_code == 1
    assert "'192.0.2.1' is no address of this machine" in result.stderr


def test_a_socket_in_a_missing_folder_says_so(run: Any, folder: Path) -> None:
    (folder / "unix.yaml").write_text("listen: unix:/nowhere/at/all/p.sock")
    result = run("run", "unix.yaml")
    assert result.exit_code == 1
    assert "the directory of the socket does not exist" in result.stderr


def test_a_policy_that_cannot_be_started_says_so(run: Any, folder: Path) -> None:
    (folder / "unstarted.py").write_text(
        "class Broken:\n"
        "    def start(self): raise OSError('no database')\n"
        "    def on_request(self, x): pass\n"
    )  # fmt: skip
    (folder / "unstarted.yaml").write_text("listen: 127.0.0.1:0\npolicies: [{python: 'unstarted:Broken'}]\n")
    result = run("run", "unstarted.yaml")
    assert result.exit_code == 1
    assert "cannot run unstarted.yaml: policies.0: policy python: no database" in result.stderr
