"""`propylon diff`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
