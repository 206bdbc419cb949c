"""Problems as people and tools see them."""

import pickle

import pytest

from propylon.config.problems import WARNING, ConfigError, Problem, suggest


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
