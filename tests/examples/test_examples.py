"""Every example is a gateway that can be run."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from propylon import Gateway
from propylon.cli.main import main
from propylon.config.json_schema import json_schema
from tests.support.config import written

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FILES = sorted(path for path in EXAMPLES.rglob("*.yaml") if path.name != "endpoints.yaml")  # found, not configured
PROGRAMS = sorted(EXAMPLES.rglob("gateway.py"))
COMMAND = re.compile(r"^#? *(?:\.\./\.\./)?\.venv/bin/propylon ((?:check|routes|explain) .*)$", re.MULTILINE)


def name(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


def test_there_are_examples() -> None:
    assert len(FILES) >= 2
    assert len(PROGRAMS) >= 2


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_file_is_valid_and_compiles(path: Path) -> None:
    result = CliRunner().invoke(main, ["check", str(path)])
    assert result.exit_code == 0, result.output
    assert list(Draft202012Validator(json_schema()).iter_errors(written(path.read_text()))) == []


@pytest.mark.parametrize("path", PROGRAMS, ids=name)
def test_every_program_compiles(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(f"example_{path.parent.name.replace('-', '_')}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module.gateway, Gateway)
    assert module.gateway.snapshot().routes


COMMANDS = [(path, line) for path in FILES for line in COMMAND.findall(path.read_text())]


@pytest.mark.parametrize(("path", "line"), COMMANDS, ids=[line for _, line in COMMANDS])
def test_the_commands_in_a_files_head_run(path: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, shlex.split(line))
    assert result.exit_code == 0, result.output
