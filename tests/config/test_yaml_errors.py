"""Files that are not YAML: the mistake, where it is, and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.config import assert_problems, problem_lines

ROUTE = "services: {users: {endpoints: [http://h]}}\nroutes:\n  - path: /users/*\n    %s\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "routes:\n  - path: /a\n    respond: ok\n   strip: /a",
            ["4:4: not YAML: this line is indented by 3 spaces, whic"],
        ),
        (
            "routes:\n  - path: /a\n      respond: ok",
            ["3:7: not YAML: this line is indented by 6 spaces, which fits n"],
        ),
        ("routes:\n  - path: /a\n - path: /b", ["3:2: not YAML: this line is indented by 1 space, which fits no line"]),
        ("listen: 127.0.0.1:1\n routes: []", ["2:2: not YAML: this line is indented by 1 space, which fits no line"]),
        ("routes:\n  - {path: /x/{id}, respond: ok}", ['2:12: not YAML: /x/{id} is not in quotes, write "/x/{id}"']),
        ("routes:\n  - path: [/x/{id}, /y]", ['2:12: not YAML: /x/{id} is not in quotes, write "/x/{id}"']),
        (
            "routes:\n  - host: *.a.example",
            ['2:11: not YAML: text cannot begin with *, put it in quotes: "*.a.example"'],
        ),
        ("name: @a", ['1:7: not YAML: text cannot begin with @, put it in quotes: "@a"']),
        ("routes:\n\t- path: /a", ["2:1: not YAML: a tab in the indentation, indent with spaces, not with tabs"]),
        ("routes:\n  - path: /a\n\trespond: ok", ["3:1: not YAML: a tab in the indentation"]),
        ("routes:\n  - path:/a\n    respond: ok", ["2:3: not YAML: there is no ': ' behind a key, write path: /a"]),
        ("routes:\n  - path /a\n    respond: ok", ["2:3: not YAML: there is no ': ' behind a key, write path: /a"]),
        (ROUTE % "target http://h", ["4:5: not YAML: there is no ': ' behind a key, write target: http://h"]),
        ('routes:\n  - path: "/a\n    respond: ok', ["2:11: not YAML: the quote that begins here has no end"]),
        ("routes:\n  - {path: /a, respond: ok\n", ["2:5: not YAML: the { that begins here has no end"]),
        ("name: a: b", ["1:8: not YAML: ': ' is in the line twice"]),
    ],
)
def test_a_mistake_has_a_way_out(text: str, expected: list[str], tmp_path: Path) -> None:
    assert_problems(text, expected, tmp_path)


def test_the_line_to_align_with_is_named(tmp_path: Path) -> None:
    for text, hint in (
        ("routes:\n  - path: /a\n    respond: ok\n   strip: /a", "align it with line 3, by 4 spaces"),
        ("routes:\n  - path: /a\n      respond: ok", "align it with line 2, by 4 spaces"),
        ("routes:\n  - path: /a\n - path: /b", "align it with line 2, by 2 spaces"),
        ("routes:\n - path: /a\n  - path: /b", "align it with line 2, by 1 space"),
        ("listen: 127.0.0.1:1\n routes: []", "align it with line 1, by 0 spaces"),
        ("# one\nservices:\n  a:\n    retry: 1\n\n   # two\n   health: /", "align it with line 4, by 4 spaces"),
    ):
        [problem] = problem_lines(text, tmp_path)
        assert problem.endswith(hint), problem
