"""TARGET: a file, or `module:attribute`; and what a user reads when it is neither."""

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
        ("app:wrong", "gateway: nope: unknown key 'nope'"),
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
