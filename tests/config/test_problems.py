"""Problems as people and tools see them."""

import pickle
from typing import Any

import pytest

from propylon.config.problems import WARNING, ConfigError, Problem, suggest
from tests.support.config import load_text


def problems(text: str, **environment: str) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        load_text(text, environment=environment)
    return raised.value


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("f", 7, 9, "a.0.b", "is wrong", "write c"), "f:7:9: a.0.b: is wrong, write c"),
        (Problem("f", None, None, "a", "is wrong"), "f: a: is wrong"),
        (Problem("f", 1, 2, "", "is wrong"), "f:1:2: is wrong"),
        (Problem("f", 1, 2, "a", "is odd", "why", WARNING), "f:1:2: warning: a: is odd, why"),
    ],
)
def test_a_problem_is_one_line(problem: Problem, line: str) -> None:
    assert str(problem) == line


def test_problems_are_sorted_by_their_place() -> None:
    wrong = [Problem("f", line, column, "", "m") for line, column in [(3, 1), (1, 9), (1, 2), (None, None)]]
    assert [(each.line, each.column) for each in ConfigError(wrong).problems] == [(None, None), (1, 2), (1, 9), (3, 1)]


def test_an_error_can_be_sent_to_another_process() -> None:
    error = ConfigError([Problem("f", 1, 2, "a", "m", "h")])
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


def test_a_problem_has_a_form_for_json() -> None:
    assert Problem("f", 1, 2, "a", "m").as_dict() == {
        "file": "f", "line": 1, "column": 2, "path": "a", "message": "m", "hint": None, "severity": "error",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "hint"),
    [("wieght", "did you mean 'weight'?"), ("zzz", None), ("", None)],
)
def test_a_suggestion_is_close(word: str, hint: str | None) -> None:
    assert suggest(word, ["weight", "url"]) == hint


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
