"""`module:name` references: what is told of modules that are not there or cannot be imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from propylon.config.reference import import_object

if TYPE_CHECKING:
    from pathlib import Path

MODULES = {
    "ref_fine": "value = 5\n",
    "ref_raises": "import json\njson.loads('{')\n",
    "ref_lacks": "\nimport no_such_package\n",
    "ref_outer": "import ref_raises\n",
    "ref_syntax": "def f(\n",
}


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("ref_none:value", "No module named 'ref_none'"),
        ("ref_fine:valu", "'ref_fine' has no 'valu', did you mean 'value'?"),
        ("ref_raises:f", "'ref_raises' cannot be imported: JSONDecodeError: Expecting property name"),
        ("ref_raises:f", "(char 1) (ref_raises.py, line 2)"),
        ("ref_outer:f", "'ref_outer' cannot be imported: JSONDecodeError: Expecting property name"),
        ("ref_outer:f", "(ref_raises.py, line 2)"),
        ("ref_lacks:f", "ModuleNotFoundError: No module named 'no_such_package' (ref_lacks.py, line 2)"),
        ("ref_syntax:f", "'ref_syntax' cannot be imported: SyntaxError: '(' was never closed (ref_syntax.py, line 1)"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(reference: str, told: str) -> None:
    with pytest.raises((ImportError, AttributeError)) as raised:
        import_object(reference)
    assert told in str(raised.value)


def test_what_is_there_is_found() -> None:
    assert import_object("ref_fine:value") == 5
    assert import_object("ref_fine:value.real") == 5
