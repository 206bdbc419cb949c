"""`propylon fmt`: formats configuration files."""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from propylon.config.problems import Problem

_STDIN = "-"
_SUFFIXES = (".yaml", ".yml")


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("-w", "--write", is_flag=True, help="Write the files, instead of printing them.")
@click.option("--check", is_flag=True, help="Print only the names of files that are not formatted, and exit with 1.")
def command(files: tuple[str, ...], write: bool, check: bool) -> None:
    """Format each FILE: indentation, spaces and blank lines.

    Comments, anchors, quotes and the order of keys stay, and so does the meaning. A directory stands for its *.yaml and
    *.yml at any depth, '-' for the standard input.
    """
    from propylon.cli._output import fail_with_problems
    from propylon.config.format import FormatError
    from propylon.config.problems import ConfigError

    if write and (check or _STDIN in files):
        raise click.UsageError(f"--write and {'--check' if check else repr(_STDIN)} exclude each other")
    differing = 0
    problems: list[Problem] = []
    for name in _names(files):
        try:
            before, after = _formatted(name)
        except ConfigError as error:
            problems += error.problems
            continue
        except FormatError as error:
            raise click.ClickException(str(error)) from error
        if not write and not check:
            click.echo(after, nl=False)
        elif before != after.encode():
            differing += 1
            click.echo(name)
            if write:
                _write(name, after)
    if problems:
        fail_with_problems(problems)
    sys.exit(1 if check and differing else 0)


def _names(files: tuple[str, ...]) -> list[str]:
    """Return the names of files, with those in directories."""
    found: list[str] = []
    for file in files:
        if os.path.isdir(file):
            found += sorted(str(path) for path in Path(file).rglob("*") if path.suffix in _SUFFIXES and path.is_file())
        else:
            found.append(file)
    return found


def _formatted(name: str) -> tuple[bytes, str]:
    """Return the content of a file and its formatted text. Raises `ConfigError`, `FormatError`."""
    from propylon.config import document
    from propylon.config.format import formatted

    raw = sys.stdin.buffer.read() if name == _STDIN else document.read_bytes(Path(name))
    shown = "standard input" if name == _STDIN else name
    return raw, formatted(document.decode(raw, shown), shown)


def _write(name: str, text: str) -> None:
    """Replace a file at once; its mode stays, and a link still leads to it."""
    path = Path(name).resolve()
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=".propylon-", delete=False
        ) as new:
            new.write(text)
        os.chmod(new.name, path.stat().st_mode)
        os.replace(new.name, path)
    except OSError as error:
        raise click.ClickException(f"{name} cannot be written: {error.strerror}") from error
