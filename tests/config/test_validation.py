"""Errors of pydantic as problems: one a mistake, with the value unless it may be a secret."""

from typing import Any

import pytest

from propylon.config.problems import ConfigError
from tests.support.config import load_text


def problems(text: str, **environment: str) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        load_text(text, environment=environment)
    return raised.value


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("policies: [{colour: {password: [s3cret]}}]", {}),
        ("policies: [{colour: {password: {s: s3cret}}}]", {}),
        ("policies: [{colour: {shade: '${S}'}}]", {"S": "s3cret"}),
        ("routes: [{path: /a, target: 'http://admin:s3cret@127.0.0.1'}]", {}),
        ("routes: [{path: /a, target: 'ftp://admin:s3cret@127.0.0.1'}]", {}),
        ("name: '${S}'", {"S": "s3cret and more"}),
    ],
)
def test_a_secret_is_not_shown(text: str, environment: dict[str, str]) -> None:
    assert "s3cret" not in str(problems(text, **environment))


def test_a_long_value_is_shortened() -> None:
    assert len(str(problems(f"name: '{'a ' * 1000}'"))) < 150


def test_the_members_of_a_union_are_one_problem() -> None:
    (problem,) = problems("policies: [{colour: {depth: deep}}]").problems
    assert problem.path == "policies.0.colour.depth"
    assert problem.message.count(" or ") == 1


def test_problems_of_reading_and_of_meaning_come_together() -> None:
    found = [problem.message for problem in problems("name: ${NOPE}\nlisen: 1").problems]
    assert found == ["the environment variable NOPE is not set", "unknown key 'lisen'"]


def test_a_wrong_key_and_its_wrong_value_are_two_problems() -> None:
    found: Any = problems("errors: {pages: {'99': nowhere.html}}").problems
    assert [(problem.line, problem.column) for problem in found] == [(1, 18), (1, 24)]
