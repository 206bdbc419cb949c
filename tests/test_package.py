"""The package as a whole: what it imports, what is public, and which way its arrows point."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import propylon

PACKAGE = Path(propylon.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# Leaves: plain arithmetic on bytes and numbers, that never waits and is given its clock (docs/architecture.md).
LEAVES = [*sorted((PACKAGE / "http").glob("*.py")), *sorted((PACKAGE / "routing").glob("*.py"))]
IMPURE = {"asyncio", "socket", "ssl", "time", "random", "threading", "logging", "subprocess", "uvloop"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(path: Path, *, at_runtime: bool = False) -> Iterator[str]:
    """Go through the modules that a file imports, absolute; `at_runtime` leaves out `if TYPE_CHECKING:`."""
    tree = ast.parse(path.read_text())
    typed = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if at_runtime and id(node) in typed:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} has a relative import"
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    """A policy module imports it, and so does every tool; what runs the gateway is imported when it runs."""
    assert loaded_by("import propylon") & {"yaml", "click", "pydantic", "pydantic_core", "aiodns", "uvloop"} == set()


def test_importing_the_package_imports_none_of_the_runtime() -> None:
    loaded = {name for name in loaded_by("import propylon") if name.startswith("propylon.")}
    assert {
        name for name in loaded if name.split(".")[1] in ("cli", "config", "runtime", "policies", "testing")
    } == set()


def test_the_public_names_are_these() -> None:
    assert propylon.__all__ == sorted(propylon.__all__)
    assert set(propylon.__all__) == {
        "Exchange", "Gateway", "GatewayError", "Headers", "Message", "Request", "Response", "__version__",
    }  # fmt: skip
    for name in propylon.__all__:
        assert getattr(propylon, name) is not None


@pytest.mark.parametrize("path", LEAVES, ids=name_of)
def test_http_and_routing_know_nothing_of_the_rest(path: Path) -> None:
    """Not even for types: what is below a border can be read, tested and compiled without what is above it."""
    allowed = ("propylon.http", f"propylon.{path.parent.name}")
    ours = {name for name in imports(path) if name.split(".")[0] == "propylon"}
    assert {name for name in ours if not name.startswith(allowed) and name != "propylon"} == set()


@pytest.mark.parametrize("path", LEAVES, ids=name_of)
def test_a_leaf_neither_waits_nor_looks_at_a_clock(path: Path) -> None:
    assert {name.split(".")[0] for name in imports(path)} & IMPURE == set()
    tree = ast.parse(path.read_text())
    assert not any(isinstance(node, ast.Await | ast.AsyncFunctionDef) for node in ast.walk(tree))


def test_nothing_imports_the_command_line_but_itself() -> None:
    found = {
        (name_of(path), name)
        for path in MODULES
        for name in imports(path)
        if name.startswith("propylon.cli") and not name_of(path).startswith(("cli/", "__main__"))
    }
    assert found == set()


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        (
            "engine",
            ("inbound", "outbound", "services", "config", "build", "policies", "runtime", "cli", "gateway", "testing"),
        ),
        ("inbound", ("services", "config", "build", "policies", "runtime", "cli", "gateway", "testing")),
        ("outbound", ("inbound", "services", "config", "build", "policies", "runtime", "cli", "gateway", "testing")),
        ("services", ("inbound", "build", "policies", "runtime", "cli", "gateway", "testing")),
        ("services/s", ("config",)),  # service.py, settings.py; algorithms and providers have models of their own
        ("policies", ("inbound", "outbound", "services", "build", "runtime", "cli", "gateway", "testing")),
        ("config", ("build", "policies", "runtime", "cli", "gateway", "testing")),
    ],
)
def test_arrows_point_one_way(folder: str, forbidden: tuple[str, ...]) -> None:
    """Types may be named across a border; what is imported at run time may not cross it."""
    found = {
        (name_of(path), name)
        for path in MODULES
        if name_of(path).startswith(f"{folder}/")
        for name in imports(path, at_runtime=True)
        if name.split(".")[:1] == ["propylon"] and name.split(".")[1:2] and name.split(".")[1] in forbidden
    }
    assert found == set()


@pytest.mark.parametrize("path", sorted((PACKAGE / "engine").rglob("*.py")), ids=name_of)
def test_the_engine_names_nothing_but_what_is_below_it(path: Path) -> None:
    """Not even for types: what it needs of clients, services and endpoints are Protocols of its own."""
    ours = {name for name in imports(path) if name.split(".")[0] == "propylon" and name != "propylon"}
    assert {name for name in ours if name.split(".")[1] not in ("engine", "http", "routing", "transport")} == set()


def test_every_module_says_what_it_is_for() -> None:
    assert [name_of(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_the_version_is_one() -> None:
    from importlib.metadata import version

    assert propylon.__version__ == version("propylon")
