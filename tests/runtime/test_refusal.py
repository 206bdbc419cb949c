"""`gateway.run()` of a program that cannot start: what it prints, and its exit status."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import propylon
from propylon import BuildError, ConfigError, Gateway, ListenError, Problem


def ran(folder: Path, program: str) -> tuple[int, list[str]]:
    """Run a program with this interpreter; return its exit status and the lines of its stderr."""
    (folder / "app.py").write_text(f"from propylon import Gateway\n\n{program}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


def test_bad_keys_are_a_line_each(tmp_path: Path) -> None:
    program = "gateway = Gateway()\ngateway.route('/a', respond='x', stripp='/')\ngateway.run('nonsense')\n"
    status, lines = ran(tmp_path, program)
    assert status == 1
    assert lines[0] == "app.py:4: routes.0.stripp: unknown key 'stripp', did you mean 'strip'?"
    assert lines[1] == "app.py:5: listen: has no port: write nonsense:8080 (got 'nonsense')"
    assert lines[2:] == ["2 problems"]


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, lines = ran(tmp_path, f"Gateway().route('/a', respond='x').run('{address}')\n")
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"cannot run the gateway: {address}: address already in use")


def test_a_socket_without_permission_is_one_line(tmp_path: Path) -> None:
    status, lines = ran(tmp_path, "Gateway().route('/a', respond='x').run('unix:/proc/1/p.sock')\n")
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith("cannot run the gateway: unix:/proc/1/p.sock: ")


def test_a_policy_that_cannot_start_is_one_line_with_its_call(tmp_path: Path) -> None:
    broken = "class Broken:\n    def start(self): raise OSError('no database')\n    def on_request(self, x): pass\n\n"
    status, lines = ran(tmp_path, f"{broken}Gateway(policies=[Broken()]).run('127.0.0.1:0')\n")
    assert status == 1
    assert lines == ["app.py:7: policies.0: policy Broken: no database"]


def test_the_cause_is_the_error_itself() -> None:
    with pytest.raises(SystemExit) as ended:
        Gateway(nope=1).run()
    assert isinstance(ended.value.__cause__, ConfigError)
    assert isinstance(ended.value.__cause__.problems[0], Problem)


def test_a_file_that_is_loaded_can_get_another_address(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("routes: [{path: /*, respond: ok}]\n")
    with pytest.raises(SystemExit, match=r"test_refusal\.py:[0-9]+: listen: has no port: write nonsense:8080"):
        Gateway.load(tmp_path / "gateway.yaml").run("nonsense")


def test_errors_of_starting_can_be_imported() -> None:
    assert all(issubclass(each, Exception) for each in (BuildError, ConfigError, ListenError))
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = propylon.Nothing
