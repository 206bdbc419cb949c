"""`propylon fmt`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from propylon.cli.main import main

UNTIDY = "routes:\n- {path: /*,respond: x}   # all\n"
TIDY = "routes:\n  - {path: /*, respond: x} # all\n"


@pytest.fixture
def files(folder: Path) -> Path:
    (folder / "conf.d").mkdir()
    (folder / "conf.d" / "b.yml").write_text(UNTIDY)
    (folder / "conf.d" / "a.yaml").write_text(TIDY)
    (folder / "conf.d" / "c.txt").write_text(UNTIDY)
    (folder / "one.yaml").write_text(UNTIDY)
    return folder


def test_it_prints_by_default_and_changes_nothing(run: Any, files: Path) -> None:
    result = run("fmt", "one.yaml")
    assert (result.exit_code, result.stdout) == (0, TIDY)
    assert (files / "one.yaml").read_text() == UNTIDY


def test_it_writes_files_and_tells_which(run: Any, files: Path) -> None:
    (files / "one.yaml").chmod(0o640)
    (files / "link.yaml").symlink_to("one.yaml")
    result = run("fmt", "-w", "link.yaml", "conf.d")
    assert (result.exit_code, result.stdout) == (0, "link.yaml\nconf.d/b.yml\n")
    assert (files / "one.yaml").read_text() == (files / "conf.d" / "b.yml").read_text() == TIDY
    assert (files / "one.yaml").stat().st_mode & 0o777 == 0o640
    assert (files / "link.yaml").is_symlink()
    assert (files / "conf.d" / "c.txt").read_text() == UNTIDY
    assert sorted(path.name for path in (files / "conf.d").iterdir()) == ["a.yaml", "b.yml", "c.txt"]
    assert run("fmt", "-w", "link.yaml", "conf.d").stdout == ""


def test_it_checks_and_changes_nothing(run: Any, files: Path) -> None:
    result = run("fmt", "--check", "one.yaml", "conf.d")
    assert (result.exit_code, result.stdout) == (1, "one.yaml\nconf.d/b.yml\n")
    assert (files / "one.yaml").read_text() == UNTIDY
    assert run("fmt", "--check", "conf.d/a.yaml").exit_code == 0


def test_line_breaks_of_another_system_are_not_formatted(run: Any, files: Path) -> None:
    (files / "one.yaml").write_bytes(TIDY.replace("\n", "\r\n").encode())
    assert run("fmt", "--check", "one.yaml").exit_code == 1
    run("fmt", "-w", "one.yaml")
    assert (files / "one.yaml").read_bytes() == TIDY.encode()


def test_it_reads_the_standard_input() -> None:
    result = CliRunner().invoke(main, ["fmt", "-"], input=UNTIDY)
    assert (result.exit_code, result.stdout) == (0, TIDY)


def test_what_cannot_be_formatted_is_told(run: Any, files: Path) -> None:
    (files / "broken.yaml").write_text("a: [}")
    (files / "text.yaml").write_text("   ---\n")
    result = run("fmt", "-w", "broken.yaml", "nowhere.yaml", "one.yaml")
    assert result.exit_code == 1
    assert "broken.yaml:1:5: not YAML" in result.stderr
    assert "nowhere.yaml: there is no such file" in result.stderr
    assert (files / "one.yaml").read_text() == TIDY
    assert "text.yaml cannot be formatted" in run("fmt", "text.yaml").stderr
    assert "exclude each other" in run("fmt", "-w", "--check", "one.yaml").stderr
    assert "exclude each other" in run("fmt", "-w", "-").stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_told(run: Any, files: Path) -> None:
    (files / "conf.d").chmod(0o500)
    result = run("fmt", "-w", "conf.d/b.yml")
    assert "cannot be written" in result.stderr
