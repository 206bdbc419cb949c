"""The command as a whole."""

import subprocess
import sys
from typing import Any

import pytest

from propylon.version import __version__


def test_help_lists_every_command(run: Any) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name in ("check", "explain", "routes", "run", "version"):
        assert f"\n  {name} " in result.output
    assert "main" not in result.output
    assert "_target" not in result.output


@pytest.mark.parametrize("name", ["check", "explain", "routes", "run", "version"])
def test_every_command_has_help(run: Any, name: str) -> None:
    assert run(name, "--help").exit_code == 0


def test_an_unknown_command_gets_a_suggestion(run: Any) -> None:
    result = run("chek")
    assert result.exit_code == 2
    assert "'check'" in result.output


@pytest.mark.parametrize("name", ["main", "_target", "os"])
def test_a_module_that_is_no_command_is_unknown(run: Any, name: str) -> None:
    assert "No such command" in run(name).output


def test_the_version_is_an_option_too(run: Any) -> None:
    assert run("--version").output == f"propylon {__version__}\n"


def test_help_and_version_import_neither_models_nor_yaml() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from propylon.cli.main import main;"
        "CliRunner().invoke(main, ['--help']); CliRunner().invoke(main, ['version']);"
        "print([name for name in ('pydantic', 'yaml') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
