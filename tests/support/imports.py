"""What a source text imports of ours, for the tests that say which way imports point."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator


def imports(source: str, *, at_runtime: bool = False) -> Iterator[str]:
    """Go through the modules that a text imports, absolute; `at_runtime` leaves out `if TYPE_CHECKING:`."""
    tree = ast.parse(source)
    typed = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for body in node.body
        for inner in ast.walk(body)
    }
    for node in ast.walk(tree):
        if at_runtime and id(node) in typed:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import: {ast.unparse(node)}"
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def rooms(source: str, *, at_runtime: bool = False) -> set[str]:
    """Name the folders and modules right below `propylon` that a text imports from."""
    parts = (name.split(".") for name in imports(source, at_runtime=at_runtime))
    return {name[1] for name in parts if name[0] == "propylon" and len(name) > 1}


def beyond(source: str, allowed: Collection[str]) -> set[str]:
    """Name the rooms that a text imports from, be it for types, and that are not allowed."""
    return rooms(source) - set(allowed)
