"""THE table: every code that is used stands in it, every row is used, and every row makes sense."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import propylon
from propylon.failures import FAILURES
from propylon.routing.facts import FACTS

PACKAGE = Path(propylon.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
STEPS = {code.partition(".")[0] for code in FAILURES}
CODE = re.compile(rf"(?:{'|'.join(sorted(STEPS))})\.[a-z_]+")
NO_CODES = (".yaml", ".test")  # a file and a host look like codes
RAISERS = {"GatewayError", "Refusal", "ConnectError", "ResolveError", "failed"}


def docstrings(tree: ast.AST) -> set[int]:
    """Return the ids of all constants that are docstrings."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def texts(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    ignored = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in ignored:
            yield node.value


def codes_of(path: Path) -> set[str]:
    return {text for text in texts(path) if CODE.fullmatch(text) and not text.endswith(NO_CODES)} - FACTS.keys()


def raised(path: Path) -> Iterator[str]:
    """Go through the literal codes that exceptions are made with, whatever their step is called."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    for call in calls:
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        given = (argument.value for argument in call.args if isinstance(argument, ast.Constant))
        if name in RAISERS:
            yield from (text for text in given if isinstance(text, str) and re.fullmatch(r"[a-z]+\.[a-z_]+", text))


def test_every_code_that_is_used_stands_in_the_table() -> None:
    used = {
        (code, path.relative_to(PACKAGE).as_posix()) for path in SOURCES for code in {*codes_of(path), *raised(path)}
    }
    assert {each for each in used if each[0] not in FAILURES} == set()
    assert len(used) > len(FAILURES)


def test_every_row_of_the_table_is_used() -> None:
    table = PACKAGE / "failures.py"
    used = {code for path in SOURCES if path != table for code in codes_of(path)}
    assert set(FAILURES) - used == set()


@pytest.mark.parametrize("code", FAILURES)
def test_a_row_has_a_status_a_title_and_a_hint(code: str) -> None:
    failure = FAILURES[code]
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", code)
    assert failure.status == 499 or 400 <= failure.status <= 599
    assert failure.title
    assert failure.title[0].isupper()
    assert not failure.title.endswith(".")
    assert failure.hint.endswith(".")


@pytest.mark.parametrize(
    ("suffix", "status"), [("timeout", {408, 504, 503}), ("too_large", {413, 431, 502}), ("policy_failed", {500})]
)
def test_what_is_named_alike_has_statuses_alike(suffix: str, status: set[int]) -> None:
    assert {failure.status for code, failure in FAILURES.items() if code.endswith(suffix)} <= status


def test_statuses_of_services_keep_the_rule() -> None:
    """503 nobody was there, 502 somebody answered badly, 504 it took too long."""
    assert {FAILURES[code].status for code in ("connect.dns", "connect.refused", "connect.unreachable")} == {503}
    assert {FAILURES[code].status for code in ("connect.tls", "attempt.closed", "head.bad")} == {502}
    assert {
        FAILURES[code].status
        for code in FAILURES
        if code.startswith(("connect", "attempt", "head")) and "timeout" in code
    } == {504}
