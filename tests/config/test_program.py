"""Problems of Python programs: each once, at the file and line of the call."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from propylon import Gateway
from propylon.cli.main import main
from propylon.config.problems import ConfigError

HEAD = "from propylon import Gateway\n\n\nclass Broken:\n    pass\n\n\n"


def problems_of(program: str) -> list[str]:
    """Run a program as the file app.py, and return what `propylon check` says of its gateway."""
    Path("app.py").write_text(HEAD + program)
    scope: dict[str, object] = {"__name__": "app"}
    exec(compile(HEAD + program, str(Path("app.py").absolute()), "exec"), scope)
    gateway = scope["gateway"]
    assert isinstance(gateway, Gateway)
    with pytest.raises(ConfigError) as caught:
        _ = gateway.config
    return [str(problem).replace("app.py:", "") for problem in caught.value.problems]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("program", "problems"),
    [
        ("gateway = Gateway(nope=1)", ["8: nope: unknown key 'nope'"]),
        (
            "gateway = Gateway()\n\ngateway.route('/a', respond='x', stripp='/')",
            ["10: routes.0.stripp: unknown key 'stripp', did you mean 'strip'?"],
        ),
        (
            "gateway = (\n    Gateway()\n    .route('/a', respond='x')\n    .route('b', respond='x')\n)",
            ["11: routes.1.path: path 'b' must begin with '/'"],
        ),
        (
            "gateway = Gateway()\ngateway.service('u', 'nowhere')",
            ["9: services.u.endpoints: has no scheme: "],
        ),
        ("gateway = Gateway()\ngateway.service('u', {'a': 'http://h'})", ["9: services.u.endpoints: should be a list"]),
        ("gateway = Gateway()\ngateway.service('u')", ["9: services.u: a service needs endpoints, give 'endpoints',"]),
        (
            "gateway = Gateway()\nfor _ in 1, 2:\n    gateway.service('u', 'http://h')",
            ["10: services.u: duplicate service 'u', first in 10"],
        ),
        (
            "gateway = Gateway(services={'u': {'endpoints': 'http://h'}})\ngateway.service('u', 'http://h')",
            ["9: services.u: duplicate service 'u', first in 8"],
        ),
        (
            "gateway = Gateway()\n\n@gateway.policy\nclass Late(Broken):\n    pass\n",
            ["10: policies.0: Late is a class: give an instance, Late(...)"],
        ),
        ("gateway = Gateway(routes='abc').route('/a', respond='x')", ["8: routes: should be a list (got 'abc')"]),
        ("gateway = Gateway(services='abc')\ngateway.service('u', 'http://h')", ["8: services: should be a mapping"]),
        ("gateway = Gateway(policies='hsts')\ngateway.policy(print)", ["8: policies: should be a list (got 'hsts')"]),
        ("gateway = Gateway().route('/a', respond='x', policies=print)", ["8: routes.0.policies: should be a list"]),
        ("gateway = Gateway().route('/a', respond='x', methods=5)", ["8: routes.0.methods: should be a list (got 5)"]),
        ("gateway = Gateway().route('/a', respond='x', clients='h')", ["8: routes.0.clients: not a network: "]),
        ("gateway = Gateway(listen='8080x')", ["8: listen: is no address "]),
        (
            "gateway = Gateway(nope=1)\ngateway.route('/a')\ngateway.service('u', [])",
            ["8: nope: unknown", "9: routes.0: a route needs a destination", "10: services.u: a service needs end"],
        ),
    ],
)
def test_a_problem_is_shown_once_at_its_call(program: str, problems: list[str]) -> None:
    found = problems_of(program)
    assert len(found) == len(problems), found
    for shown, expected in zip(found, problems, strict=True):
        assert shown.startswith(expected)


def test_one_text_may_stand_for_the_list_of_endpoints() -> None:
    gateway = Gateway().service("users", "http://127.0.0.1:1").route("/*", service="users")
    assert [endpoint.url for endpoint in gateway.config.services["users"].endpoints] == ["http://127.0.0.1:1"]


def test_lists_may_be_anything_that_can_be_gone_through() -> None:
    gateway = Gateway(trusted_proxies={"10.0.0.0/8"}, nope=1)
    gateway.service("users", (f"http://127.0.0.1:{port}" for port in (1, 1)))
    gateway.route("/*", service="users", policies=dict.fromkeys(["hsts"]).keys())
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            _ = gateway.config
        assert [problem.path for problem in caught.value.problems] == ["nope", "services.users.endpoints.1"]


def test_a_call_of_another_file_is_named_by_that_file(folder: Path) -> None:
    (folder / "parts").mkdir()
    (folder / "parts" / "users.py").write_text("def add(gateway):\n    gateway.route('/u', respond='x', nope=1)\n")
    (folder / "main_app.py").write_text(
        "from propylon import Gateway\nfrom parts.users import add\n\ngateway = Gateway()\nadd(gateway)\n"
    )
    result = CliRunner().invoke(main, ["check", "main_app:gateway"])
    assert result.stderr == "parts/users.py:2: routes.0.nope: unknown key 'nope'\n1 problem\n"


def test_a_policy_that_cannot_be_made_is_named_by_its_call(folder: Path) -> None:
    (folder / "made.py").write_text(
        "from propylon import Gateway\n\n"
        "class Broken:\n    def __init__(self, config, scope): raise ValueError('no')\n    on_request = 1\n\n"
        "gateway = Gateway()\n\ngateway.route('/u', respond='x', policies=[{'python': Broken}])\n"
    )
    result = CliRunner().invoke(main, ["check", "made:gateway"])
    assert result.exit_code == 1
    assert result.stderr.startswith("made.py:9: routes.0.policies.0: ")
