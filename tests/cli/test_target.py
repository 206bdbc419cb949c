"""TARGET: a file, or `module:attribute`; and what a user reads when it is neither."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("target", ["app:gateway", "good.yaml", "./good.yaml"])
def test_a_file_and_a_python_gateway_are_targets(run: Any, target: str) -> None:
    assert run("check", target).exit_code == 0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere.yaml", "nowhere.yaml: there is no such file, give the path of the configuration"),
        (".", ".: is a directory, give the path of a file in it"),
        ("app.py", "app.py is Python: write module:attribute, for example app:gateway"),
        ("nonsense", "'nonsense' is neither a file nor module:attribute"),
        ("app:", "'app:' is neither a file nor module:attribute"),
        ("app:gatewy", "app:gatewy: app has no attribute 'gatewy', did you mean 'gateway'?"),
        ("app:zzz", "app has no attribute 'zzz', it has Gateway, gateway, nothing, number, wrong"),
        ("app:number", "app:number is of type int, not a Gateway"),
        ("app:Gateway", "app:Gateway is of type type, not a Gateway"),
        ("nomodule:gateway", "there is no module 'nomodule' in "),
        ("app.sub:gateway", "there is no module 'app.sub' in "),
        ("lacking:gateway", "lacking cannot be imported: No module named 'no_such_package'"),
        ("broken:gateway", "broken cannot be imported: JSONDecodeError"),
        ("ends:gateway", "ends cannot be imported: SystemExit: 4"),
        ("app:wrong", "app.py:9: nope: unknown key 'nope'"),
    ],
)
def test_a_wrong_target_says_what_is_wrong(run: Any, target: str, message: str) -> None:
    for command in ("check", "routes", "run"):
        result = run(command, target)
        assert result.exit_code == 1
        assert message in result.stderr


def test_an_exception_in_the_module_of_the_user_is_shown_from_there_on(run: Any) -> None:
    error = run("check", "broken:gateway").stderr
    assert 'broken.py", line 3' in error
    assert "_target.py" not in error
    assert "importlib" not in error


def test_a_file_with_a_colon_in_its_name_is_a_file(run: Any, folder: Path) -> None:
    (folder / "app:gateway").write_text("routes: 3")
    assert "app:gateway:1:9: routes: should be a list (got 3)" in run("check", "app:gateway").stderr


def test_a_file_that_may_not_be_read_says_so(run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "good.yaml: may not be read, check the file's permissions" in run("check", "good.yaml").stderr


ON_THE_ENVIRONMENT = pytest.mark.parametrize("command", [["check"], ["routes"], ["run"], ["explain", "GET", "/"]])


@ON_THE_ENVIRONMENT
@pytest.mark.parametrize("upstreams", ["", " "])
def test_without_a_target_one_is_asked_for(
    run: Any, monkeypatch: pytest.MonkeyPatch, command: list[str], upstreams: str
) -> None:
    monkeypatch.setenv("UPSTREAMS", upstreams)
    result = run(*command)
    assert result.exit_code == 2
    assert "give a FILE or module:attribute, or set UPSTREAMS for a gateway without a file" in result.stderr


@ON_THE_ENVIRONMENT
def test_without_a_target_every_problem_of_the_environment_is_shown(
    run: Any, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("UPSTREAMS", '{"users": ["127.0.0.1:3001"]}')
    monkeypatch.setenv("PORT", "http")
    result = run(*command)
    assert result.exit_code == 1
    first, second, count = result.stderr.splitlines()
    assert first.startswith("environment: UPSTREAMS.users.0: ")
    assert second == "environment: PORT: should be a whole number from 1 to 65535 (got 'http')"
    assert count == "2 problems"


def test_without_a_target_the_commands_look_at_the_environment(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTREAMS", '{"users": ["http://127.0.0.1:3001/base"]}')
    assert run("check").output.startswith("environment: ok (")
    assert json.loads(run("check", "--json").output)["target"] == "environment"
    assert "users (http://127.0.0.1:3001/base)" in run("routes").output
    assert "sends GET /base/7?x=1" in run("explain", "GET", "/api/users/7?x=1").output


def test_a_file_comes_before_the_environment(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTREAMS", "{")
    assert run("check", "good.yaml").exit_code == 0
    assert run("explain", "good.yaml", "GET", "/").exit_code == 0
