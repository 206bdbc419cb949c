"""Modules beside a configuration: found, imported anew, put back."""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import propylon
from propylon.runtime.modules import Modules


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[Modules]:
    before = set(sys.modules)
    yield Modules(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]
    sys.path.remove(str(tmp_path))


def test_the_source_that_is_there_counts_and_not_what_was_compiled_of_it(modules: Modules) -> None:
    file = modules.folder / "beside_one.py"
    for value in range(5):  # equally long, and within a second
        file.write_text(f"VALUE = {value}\n")
        modules.forget()
        assert value == importlib.import_module("beside_one").VALUE
    assert not (modules.folder / "__pycache__").exists()


def test_a_module_of_the_same_name_beside_another_configuration_is_another(modules: Modules) -> None:
    (modules.folder / "beside_same.py").write_text("VALUE = 1\n")
    other = modules.folder / "other"
    other.mkdir()
    (other / "beside_same.py").write_text("VALUE = 2\n")
    mine = importlib.import_module("beside_same")
    elsewhere = Modules(other)
    assert importlib.import_module("beside_same").VALUE == 2
    elsewhere.forget()
    modules.forget()
    assert importlib.import_module("beside_same").VALUE == mine.VALUE
    sys.path.remove(str(other))


def test_a_package_is_imported_anew_as_a_whole(modules: Modules) -> None:
    package = modules.folder / "beside_package"
    package.mkdir()
    (package / "__init__.py").write_text("from beside_package.inner import VALUE\n")
    (package / "inner.py").write_text("VALUE = 1\n")
    old = importlib.import_module("beside_package")
    (package / "inner.py").write_text("VALUE = 2\n")
    digests = modules.digests()
    known = modules.forget()
    assert set(known) == {"beside_package", "beside_package.inner"}
    assert importlib.import_module("beside_package").VALUE == 2
    assert old.VALUE == 1
    assert {name for name, digest in modules.digests().items() if digest != digests[name]} == {"beside_package.inner"}
    modules.restore(known)
    assert importlib.import_module("beside_package") is old


def test_what_a_program_imported_before_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "beside_before.py").write_text("")
    sys.path.insert(0, str(tmp_path))
    try:
        importlib.import_module("beside_before")
        assert Modules(tmp_path).forget() == {}
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["beside_before"]


def test_a_module_that_cannot_be_imported_counts_among_the_files(modules: Modules) -> None:
    file = modules.folder / "beside_broken.py"
    file.write_text("raise ValueError\n")
    with pytest.raises(ValueError, match=r"^$"):
        importlib.import_module("beside_broken")
    assert modules.files == {file}
    modules.forget()
    assert modules.files == set()


def test_libraries_in_the_folder_are_left_alone(modules: Modules) -> None:
    library = modules.folder / ".venv" / "lib" / "site-packages"
    library.mkdir(parents=True)
    (library / "beside_library.py").write_text("")
    sys.path.append(str(library))
    try:
        importlib.import_module("beside_library")
        assert modules.forget() == {}
    finally:
        sys.path.remove(str(library))


def test_this_package_is_never_imported_anew() -> None:
    folder = Path(propylon.__file__).parents[1]
    modules = Modules(folder)
    del sys.modules["propylon.version"]
    importlib.import_module("propylon.version")
    assert modules.forget() == {}


def test_a_program_beside_the_configuration_can_be_run_by_its_path(modules: Modules) -> None:
    program = modules.folder / "beside_program.py"
    program.write_text("VALUE = 5\n")
    sys.path_importer_cache.pop(str(program), None)
    assert runpy.run_path(str(program))["VALUE"] == 5
