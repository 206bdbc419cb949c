"""`propylon version`."""

import json
from typing import Any

from propylon.version import __version__


def test_the_version_is_one_line(run: Any) -> None:
    assert run("version").output == f"propylon {__version__}\n"


def test_json_has_the_versions_of_what_it_stands_on(run: Any) -> None:
    found = json.loads(run("version", "--json").output)
    assert found["propylon"] == __version__
    assert set(found) == {"propylon", "python", "uvloop", "orjson", "pydantic", "pyyaml"}


def test_the_version_in_a_process(spawn: Any) -> None:
    assert spawn("version").stdout == f"propylon {__version__}\n"
