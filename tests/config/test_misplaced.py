"""Keys that are indented wrongly: the line to align with is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.config import assert_problems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "routes:\n  - path: /a\nservice: a\nservices: {a: {endpoints: [http://h]}}",
            ["3:1: service: unknown key 'service', align it with line 2, by 4 spaces: it is a key of routes.0"],
        ),
        (
            "routes:\n  - path: /a\n    query_edit:\n      set: {a: b}\n      respond: ok\n",
            ["5:7: routes.0.query_edit.respond: unknown key 'respond', align it with line 2, by 4 spaces: it"],
        ),
        (
            "timeouts:\n  header: 5s\n  limits: {}",
            ["3:3: timeouts.limits: unknown key 'limits', align it with line 1, b"],
        ),
        (
            "listen: 127.0.0.1:80\nroutes:\n  - {path: /a, respond: x, limits: {}}\n",
            ["3:28: routes.0.limits: unknown key 'limits', move it beside line 1: it is a key of the file"],
        ),
    ],
)
def test_a_misplaced_key_is_told_where_it_belongs(text: str, expected: list[str], tmp_path: Path) -> None:
    assert_problems(text, expected, tmp_path)
