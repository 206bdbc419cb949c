"""The log as text: one record is never taken for another."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.runtime.log_format import INDENT, TextFormatter


def written(message: str, error: BaseException | None = None) -> str:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("propylon.engine", logging.WARNING, __file__, 1, "%s", (message,), exc_info)
    return TextFormatter().format(record)


def test_a_record_begins_with_time_level_and_logger() -> None:
    assert written("hello").endswith(" WARNING propylon.engine hello")
    assert "\n" not in written("hello")


def test_further_lines_are_indented() -> None:
    assert written("took up:\n+ a\n+ b").endswith(f" took up:\n{INDENT}+ a\n{INDENT}+ b")


def test_an_exception_cannot_forge_a_record() -> None:
    try:
        raise ValueError("no\n2026-11-30 12:00:00,000 ERROR propylon.engine forged\r\x1b[2J\u2028")
    except ValueError as error:
        text = written("policy m:f raised ValueError", error)
    first, *others = text.split("\n")
    assert first.endswith("raised ValueError")
    assert all(line.startswith(INDENT) for line in others)
    assert text.endswith("forged\\r\\x1b[2J\\u2028")


@given(st.text())
def test_nothing_but_its_own_indented_lines_follows_the_first(message: str) -> None:
    text = written(message)
    first, *others = text.split("\n")
    assert [first, *others] == text.splitlines()
    assert len(others) == message.count("\n")
    assert all(line.startswith(INDENT) for line in others)


@pytest.mark.parametrize("text", ["café", "日本", "a\tb"])
def test_what_is_harmless_stays(text: str) -> None:
    assert text in written(text)
