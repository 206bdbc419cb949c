"""Errors of pydantic as problems: one a mistake, with the value unless it may be a secret."""

from pathlib import Path
from typing import Any

import pytest

from propylon.config.problems import ConfigError
from tests.support.config import assert_problems, load_text

SERVICE = "services:\n  users:\n    %s\nroutes: [{path: /, service: users}]\n"


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("routes: [{path: /, targt: http://h}]", ["1:20: routes.0.targt: unknown key 'targt', did you mean 'target'?"]),
        ("routes: [{pth: /, respond: ok}]", ["1:11: routes.0.pth: unknown key 'pth', did you mean 'path'?"]),
        (
            "servces: {a: {endpoints: [http://h]}}\nroutes: [{path: /, service: a}, {path: /b, service: a}]",
            ["1:1: servces: unknown key 'servces', did you mean 'services'?"],
        ),
        (
            SERVICE % "endpoint: [http://h]",
            ["3:5: services.users.endpoint: unknown key 'endpoint', did you mean 'endp"],
        ),
        (
            SERVICE % "endpoints: [{ulr: http://h}]",
            ["3:18: services.users.endpoints.0.ulr: unknown key 'ulr', did you"],
        ),
        ("rotes: []\ntests: [{request: GET /, expect: {route: a}}]", ["1:1: rotes: unknown key 'rotes', did you mean"]),
        (
            "policies: [{python: 'm:f', wen: {methods: [GET]}}]",
            ["1:28: policies.0.wen: unknown key 'wen', did you mean"],
        ),
        ("routes: [{path: /, split: {service: {a: 1}}}]", ["1:28: routes.0.split.service: unknown key 'service', did"]),
        (
            SERVICE % "{endpoints: [http://h], breaker: {consecutve: 5}}",
            ["3:39: services.users.breaker.consecutve: unknown key 'consecutve', did you mean 'consecutive'?"],
        ),
    ],
)
def test_one_typo_is_one_problem(text: str, expected: list[str], tmp_path: Path) -> None:
    assert_problems(text, expected, tmp_path)
