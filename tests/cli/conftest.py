"""A folder with configurations and a Python gateway, and ways to run the command in it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from propylon.cli.main import main

GOOD = """
listen: 127.0.0.1:0
services:
  users:
    endpoints: [http://127.0.0.1:3001/base, {url: http://127.0.0.1:3002/base, weight: 2}]
services_json: false
policies:
  - request_id
routes:
  - name: user
    path: /users/{id}
    methods: [GET]
    service: users
    rewrite: /v2/{id}
    policies: [{body_limit: 10MB, when: {methods: [POST]}}]
  - {path: /users/*, service: users, headers: {x-a: "*", x-b: {regex: b+}}}
  - {path: /hello, target: http://127.0.0.1:3000, clients: [10.0.0.0/8], priority: 5}
  - {name: bye, path: /bye, host: bye.example, respond: {status: 410}}
"""
BAD = "routes:\n  - path: /a\n    service: usrs\n    wieght: 1\n"
APP = """
from propylon import Gateway

def nothing(exchange):
    pass

gateway = Gateway(services_json=False)
gateway.route("/x/*", target="http://127.0.0.1:3000", policies=[nothing])
wrong = Gateway(nope=1)
number = 3
"""

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder of the test."""
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "broken.py").write_text("import json\n\njson.loads('{')\n")
    (tmp_path / "ends.py").write_text("import sys\n\nsys.exit(4)\n")
    (tmp_path / "lacking.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in ("app", "broken", "ends", "lacking"):
        sys.modules.pop(name, None)


@pytest.fixture
def run(folder: Path) -> Run:
    """Run a command in this process."""

    def runner(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, prog_name="propylon")

    return runner


@pytest.fixture
def spawn(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in a process of its own."""

    def spawner(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "propylon", *arguments]
        paths = os.pathsep.join(filter(None, sys.path))
        return subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False, env={**os.environ, "PYTHONPATH": paths}
        )

    return spawner
