"""Output of commands: JSON, tables, and problems."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import click

from propylon.config.problems import Problem


def echo_json(value: Any) -> None:
    """Print a value as indented JSON."""
    import orjson

    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode())


def echo_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in aligned columns."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 route`, `2 routes`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def echo_warnings(warnings: Sequence[Problem]) -> None:
    """Print every warning."""
    for warning in warnings:
        click.echo(str(warning), err=True)


def fail_with_problems(problems: Sequence[Problem]) -> NoReturn:
    """Print every problem and their number, and exit with status 1."""
    for problem in problems:
        click.echo(str(problem), err=True)
    click.echo(count(len(problems), "problem"), err=True)
    sys.exit(1)
