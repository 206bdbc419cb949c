"""The package as a whole: what it imports, what is public, and which way its arrows point."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import propylon
from tests.support.imports import beyond, imports, rooms

PACKAGE = Path(propylon.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# Leaves: plain arithmetic on bytes and numbers, that never waits and is given its clock (docs/architecture.md).
LEAVES = [
    *sorted((PACKAGE / "http").glob("*.py")),
    *sorted((PACKAGE / "routing").glob("*.py")),
    *(PACKAGE / f"{name}.py" for name in ("address", "failures", "phases")),
]
IMPURE = {"asyncio", "socket", "ssl", "time", "random", "threading", "logging", "subprocess", "uvloop"}

MAX_LINES = 400

# What is shared at the root: tables and grammars without a state.
SHARED = {"address", "failures", "phases"}

# Which rooms a room may import from, not even for types from others: what is below a border can be read, tested and
# compiled without what is above it. A module at the root is a room of its own.
BELOW: dict[str, set[str]] = {
    "http": {"http"},
    "routing": {"routing", "http"},
    "address": {"http"},
    "failures": set(),
    "phases": set(),
    "plugins": set(),
    "config": {"config", "routing", "http", "plugins", *SHARED},
    "transport": {"transport"},
    "state": {"state"},
    "engine": {"engine", "transport", "state", "routing", "http", *SHARED},
}

ABOVE = {"build", "cli", "gateway", "runtime", "service_mode", "testing"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def modules_of(room: str) -> list[Path]:
    """The modules of a folder with those below it, or one module at the root."""
    found = [path for path in MODULES if path.relative_to(PACKAGE).parts[0].removesuffix(".py") == room]
    assert found, f"there is no {room}"
    return found


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


def test_importing_the_configuration_imports_nothing_that_serves() -> None:
    loaded = {".".join(name.split(".")[:2]) for name in loaded_by("import propylon.config.load")}
    assert "propylon.config" in loaded
    serving = {"services", "inbound", "outbound", "policies", *ABOVE} - {"gateway"}  # which is public
    assert loaded & {f"propylon.{room}" for room in serving} == set()


def test_the_public_names_are_these() -> None:
    assert propylon.__all__ == sorted(propylon.__all__)
    assert set(propylon.__all__) == {
        "BuildError", "ConfigError", "Exchange", "Gateway", "GatewayError", "Headers", "ListenError", "Message",
        "Pending", "Problem", "Request", "Response", "Scope", "Subrequest", "TlsError", "__version__",
    }  # fmt: skip
    for name in propylon.__all__:
        assert getattr(propylon, name) is not None


@pytest.mark.parametrize("path", LEAVES, ids=name_of)
def test_a_leaf_neither_waits_nor_looks_at_a_clock(path: Path) -> None:
    assert {name.split(".")[0] for name in imports(path.read_text())} & IMPURE == set()
    tree = ast.parse(path.read_text())
    assert not any(isinstance(node, ast.Await | ast.AsyncFunctionDef) for node in ast.walk(tree))


def test_nothing_is_imported_from_above_not_even_for_types() -> None:
    found = {
        (name_of(path), room)
        for below, allowed in BELOW.items()
        for path in modules_of(below)
        for room in beyond(path.read_text(), allowed)
    }
    assert found == set()


@pytest.mark.parametrize(
    "source",
    [
        "import propylon.services.service",
        "from propylon.services.service import Service",
        "from propylon import services",
        "if TYPE_CHECKING:\n    from propylon.services.service import Service",
        "if typing.TYPE_CHECKING:\n    import propylon.services",
        "def late():\n    from propylon.services.service import Service",
        "try:\n    import os, propylon.services.service as service\nexcept ImportError:\n    pass",
    ],
)
def test_an_import_from_above_is_found_however_it_is_written(source: str) -> None:
    assert beyond(source, BELOW["engine"]) == {"services"}
    assert beyond(source, {"services"}) == set()


def test_what_is_not_ours_or_only_the_package_is_no_room() -> None:
    assert rooms("import propylon, propylonic.services, os\nfrom json import loads\n") == set()


def test_an_import_for_types_is_none_at_run_time_and_its_alternative_is_one() -> None:
    source = (
        "if TYPE_CHECKING:\n    from propylon.services import service\nelse:\n    from propylon.inbound import tls\n"
    )
    assert rooms(source, at_runtime=True) == {"inbound"}
    assert rooms(source) == {"services", "inbound"}


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("inbound", {"services", "config", "policies", *ABOVE}),
        ("outbound", {"inbound", "services", "config", "policies", *ABOVE}),
        ("services", {"inbound", "policies", *ABOVE}),
        ("policies", {"inbound", "outbound", "services", *ABOVE}),
        ("service_mode", {"inbound", "outbound", "services", "policies", *(ABOVE - {"service_mode"})}),
    ],
)
def test_nothing_is_imported_from_above_at_run_time(room: str, forbidden: set[str]) -> None:
    """Types may be named across these borders."""
    found = {name_of(path): rooms(path.read_text(), at_runtime=True) & forbidden for path in modules_of(room)}
    assert {name: above for name, above in found.items() if above} == {}


def test_services_know_no_configuration() -> None:
    """Algorithms and providers, which are below, have models of their own."""
    modules = sorted((PACKAGE / "services").glob("*.py"))
    assert PACKAGE / "services" / "service.py" in modules
    assert [name_of(path) for path in modules if "config" in rooms(path.read_text())] == []


def test_nothing_imports_the_command_line_but_itself() -> None:
    found = {name_of(path) for path in MODULES if "cli" in rooms(path.read_text())}
    assert {name for name in found if not name.startswith("cli/")} == {"__main__.py"}


def too_long(sources: dict[str, str]) -> set[str]:
    return {name for name, source in sources.items() if len(source.splitlines()) > MAX_LINES}


def test_no_module_is_too_long_to_be_read() -> None:
    assert too_long({name_of(path): path.read_text() for path in MODULES}) == set()


def test_a_module_that_is_too_long_is_found() -> None:
    assert too_long({"long.py": "pass\n" * (MAX_LINES + 1), "full.py": "pass\n" * MAX_LINES}) == {"long.py"}


def test_every_module_says_what_it_is_for() -> None:
    assert [name_of(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_the_version_is_one() -> None:
    from importlib.metadata import version

    assert propylon.__version__ == version("propylon")
