"""Everything that cannot be built is told at once, beside what is not valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from propylon import Gateway
from propylon.build.errors import BuildError
from propylon.build.problems import build_problems
from propylon.config.problems import ConfigError

FILE = """\
listen:
  - {address: 127.0.0.1:8443, tls: {certificate: bad.pem}}
policies:
  - python: no_such_module:f
  - python: kept_beside:nofunction
  - {python: {use: "kept_beside:Kept", with: {size: 1}}}
  - {python: kept_beside:function, when: {python: kept_beside:nobody}}
  - request_id
services:
  a: {endpoints: [https://h], tls: {ca: bad.pem}, balance: {python: kept_beside:nobalance}}
  b: {discover: {python: kept_beside:nowhere}%s}
routes:
  - {path: /, %s: b, policies: [{python: kept_beside:function}, {python: kept_beside:nothing}]}
"""
BUILT = [
    "2: listen.0.tls: certificate",
    "4: policies.0: policy python: No module named 'no_such_module'",
    "5: policies.1: policy python: 'kept_beside' has no 'nofunction', did you mean 'function'?",
    "6: policies.2: policy python: Kept() takes no arguments",
    "7: policies.3: policy python: 'kept_beside' has no 'nobody'",
    "10: services.a.tls: ca",
    "10: services.a.balance: 'kept_beside' has no 'nobalance'",
    "11: services.b.discover: 'kept_beside' has no 'nowhere'",
    "13: routes.0.policies.1: policy python: 'kept_beside' has no 'nothing'",
]
INVALID = [
    "11: services.b.typo: unknown key 'typo'",
    "13: routes.0.servce: unknown key 'servce', did you mean 'service'?",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bad.pem").write_text("no certificate")
    (tmp_path / "kept_beside.py").write_text("class Kept: pass\ndef function(x): pass\n")
    return tmp_path


def in_lines(found: str, file: Path) -> list[str]:
    return [line.removeprefix(f"{file}:") for line in found.splitlines()]


def told(lines: list[str], expected: list[str]) -> bool:
    return all(any(_without_column(line).startswith(each) for line in lines) for each in expected)


def _without_column(line: str) -> str:
    number, _, rest = line.partition(":")
    return f"{number}:{rest.partition(':')[2]}"


def test_what_cannot_be_built_is_told_beside_what_is_not_valid(folder: Path) -> None:
    file = folder / "gateway.yaml"
    file.write_text(FILE % (", typo: 1", "servce"))
    with pytest.raises(ConfigError) as raised:
        Gateway.load(file)
    assert told(in_lines(str(raised.value), file), [*BUILT, *INVALID])


def test_of_a_valid_file_everything_that_cannot_be_built_is_told(folder: Path) -> None:
    file = folder / "gateway.yaml"
    file.write_text(FILE % ("", "service"))
    with pytest.raises(BuildError) as raised:
        Gateway.load(file).snapshot()
    messages = [each.partition(": ")[2] for each in BUILT]
    assert len(raised.value.messages) == len(messages)
    assert all(
        found.startswith(each) for found, each in zip(sorted(raised.value.messages), sorted(messages), strict=True)
    )


def test_a_condition_on_a_listener_that_is_there_is_no_problem(folder: Path) -> None:
    entries = [{"respond": "x", "when": {"listeners": "internal"}}, {"python": "no_such_module:f"}]
    data = {"listen": {"address": "127.0.0.1:0", "name": "internal"}, "policies": entries}
    assert build_problems(data, folder) == ["policies.1: policy python: No module named 'no_such_module'"]


def test_what_is_not_valid_is_told_once(folder: Path) -> None:
    file = folder / "gateway.yaml"
    file.write_text("policies: [{python: {use: '${NOBODY_SETS_THIS}'}}, {respnd: 1}, {python: 'm'}]\n")
    with pytest.raises(ConfigError) as raised:
        Gateway.load(file)
    assert [problem.path for problem in raised.value.problems] == [
        "policies.0.python.use",
        "policies.1.respnd",
        "policies.2.python",
    ]


def test_a_program_is_told_everything_too() -> None:
    gateway = Gateway(policies=[{"python": "no_such_module:f"}], wrong=1)
    gateway.route("/", respond="ok", policies=[{"python": "no_such_module:g"}])
    with pytest.raises(ConfigError) as raised:
        gateway.snapshot()
    assert [problem.path for problem in raised.value.problems] == ["wrong", "policies.0", "routes.0.policies.0"]


async def test_a_reload_logs_everything(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = folder / "gateway.yaml"
    file.write_text("listen: 127.0.0.1:0\n")
    async with Gateway.load(file) as gateway:
        for text, expected in ((FILE % (", typo: 1", "servce"), [*BUILT, *INVALID]), (FILE % ("", "service"), BUILT)):
            caplog.clear()
            file.write_text(text)
            with pytest.raises((ConfigError, BuildError)):
                await gateway.reload()
            assert told(in_lines(caplog.records[-1].getMessage(), file), expected)


@pytest.mark.parametrize("data", [{}, {"listen": 5, "policies": 5, "services": 5, "routes": 5}, {"routes": [5, None]}])
def test_data_of_any_form_is_walked(data: object) -> None:
    assert build_problems(data, Path()) == []
