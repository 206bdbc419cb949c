"""`propylon diff`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import SOURCE


def test_changes_are_told_in_words(run: Any, folder: Path) -> None:
    text = (folder / "good.yaml").read_text()
    changed = text.replace("weight: 2", "weight: 3").replace("10MB", "20MB").replace("status: 410", "status: 404")
    (folder / "new.yaml").write_text(changed)
    result = run("diff", "good.yaml", "new.yaml")
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "service users: endpoint http://127.0.0.1:3002/base: weight changed from 2 to 3",
        "route user: policy body_limit: max changed from 10000000 to 20000000",
        "route bye: respond.status changed from 410 to 404",
        "3 changes",
    ]


def test_the_same_is_not_different(run: Any) -> None:
    result = run("diff", "good.yaml", "good.yaml")
    assert (result.exit_code, result.output) == (0, "nothing is different\n")


def test_a_file_that_cannot_be_read_ends_with_2(run: Any) -> None:
    for files in (("bad.yaml", "good.yaml"), ("good.yaml", "bad.yaml"), ("good.yaml", "absent.yaml")):
        result = run("diff", *files)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "problem" in result.stderr


def test_changes_have_a_form_for_json(run: Any, folder: Path) -> None:
    text = (folder / "good.yaml").read_text()
    (folder / "new.yaml").write_text(text.replace("  - {name: bye", "  - {name: hi").replace("request_id", "hsts"))
    result = run("diff", "good.yaml", "new.yaml", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["old"], found["new"]) == (1, "good.yaml", "new.yaml")
    kinds = [(each["kind"], each["name"], each["action"]) for each in found["changes"]]
    assert kinds == [
        ("gateway", "", "removed"),
        ("gateway", "", "added"),
        ("route", "bye", "removed"),
        ("route", "hi", "added"),
    ]
    assert run("diff", "good.yaml", "good.yaml", "--json").exit_code == 0


def test_one_of_them_may_be_a_pipe(folder: Path) -> None:
    (folder / "secret").write_text("s3cret")
    (folder / "new.yaml").write_text("routes: [{path: /, respond: {body: {from_file: secret}}}]\n")
    command = f"{sys.executable} -m propylon diff <(cat new.yaml) new.yaml"
    result = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=os.environ | {"PYTHONPATH": SOURCE}, capture_output=True, timeout=30
    )
    assert (result.returncode, result.stdout) == (0, b"nothing is different\n"), result.stderr


PROGRAM = """
from dataclasses import dataclass, field
from propylon import Gateway

@dataclass
class Limit:
    rate: int
    api_key: str = "k"
    seen: dict = field(default_factory=dict, repr=False)

    def on_request(self, x): ...

gateway = Gateway(policies=[Limit(%s), {"timeout": "%s"}])
gateway.route("/", target="http://127.0.0.1:1", policies=[%s])
"""


@pytest.fixture
def programs(folder: Path) -> Iterator[None]:
    (folder / "first_program.py").write_text(PROGRAM % ("5", "5s", "{'headers': {'response': {'set': {'a': 'b'}}}}"))
    changed = "'request_id', {'body_limit': '1MB'}, {'headers': {'response': {'set': {'a': 'c'}}}}"
    (folder / "second_program.py").write_text(PROGRAM % ("6, 's3cret'", "6s", changed))
    yield
    for name in ("first_program", "second_program"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("programs")
def test_gateways_of_programs_are_compared_with_the_values_of_their_policies(run: Any) -> None:
    result = run("diff", "first_program:gateway", "second_program:gateway")
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.output.splitlines() == [
        "gateway: policy Limit: rate changed from 5 to 6",
        "gateway: policy Limit: api_key changed (***)",
        "gateway: policy timeout: response changed from 5 to 6",
        "route /: policy request_id added",
        "route /: policy body_limit added: {max: 1000000}",
        "route /: policy headers: response.set.a changed from b to c",
        "6 changes",
    ]
    back = run("diff", "second_program:gateway", "first_program:gateway")
    assert "route /: policy body_limit removed: {max: 1000000}" in back.output.splitlines()
    assert run("diff", "first_program:gateway", "first_program:gateway").exit_code == 0


@pytest.mark.usefixtures("programs")
def test_a_program_is_compared_with_a_file(run: Any) -> None:
    result = run("diff", "good.yaml", "first_program:gateway")
    assert result.exit_code == 1
    assert "gateway: policy Limit added: {rate: 5, api_key: ***}" in result.output.splitlines()


@pytest.mark.usefixtures("programs")
def test_what_is_no_gateway_ends_with_2(run: Any) -> None:
    for target, told in (
        ("first_program.py", "write module:attribute, for example first_program:gateway"),
        ("first_program:gatway", "did you mean 'gateway'?"),
        ("no_such_program:gateway", "there is no module 'no_such_program'"),
        ("first_program:Limit", "is of type type, not a Gateway"),
    ):
        result = run("diff", target, "good.yaml")
        assert (result.exit_code, result.stdout) == (2, "")
        assert told in result.stderr
