"""Python modules beside a configuration, imported again at each reload.

Old modules are not modified, so functions in use keep working. Only `sys.modules` is changed, and restored when the new
configuration cannot be used.

Rules of the file: a module is managed if its file is in the folder of the configuration, and if it was imported after
the gateway was created: modules that a program shares with its policies are not duplicated. Compiled files (`.pyc`) are
not used, since they distinguish versions of a source only by modification time in seconds and size.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from pathlib import Path
from typing import TYPE_CHECKING, Final

import propylon

if TYPE_CHECKING:
    from types import CodeType, ModuleType

_PACKAGE: Final = Path(propylon.__file__).parent
_folders: set[Path] = set()
_compiled: set[Path] = set()


class Modules:
    """The modules beside one configuration.

    Attributes:
        folder: the folder of the modules.
    """

    def __init__(self, folder: str | Path) -> None:
        """Put `folder` first on the import path, before the folders of other configurations."""
        self.folder = Path(folder).resolve()
        _look_in(self.folder)
        for name, (_, loader) in _all_imported().items():
            top = name.partition(".")[0]
            is_here = (self.folder / f"{top}.py").exists() or (self.folder / top).is_dir()
            if is_here and not _is_beside(loader.path, self.folder):
                del sys.modules[name]

    @property
    def files(self) -> frozenset[Path]:
        """The files of the imported modules, and of those whose last import failed."""
        return frozenset(Path(loader.path) for _, loader in self._imported().values()) | self._tried()

    def digests(self) -> dict[str, str]:
        """Return the digest of each module's source."""
        return {name: loader.digest for name, (_, loader) in self._imported().items()}

    def forget(self) -> dict[str, ModuleType]:
        """Remove all modules from `sys.modules`, and return them for `restore`."""
        _look_in(self.folder)
        known = {name: module for name, (module, _) in self._imported().items()}
        for name in known:
            del sys.modules[name]
        _compiled.difference_update(self._tried())
        importlib.invalidate_caches()
        return known

    def same_code(self, known: dict[str, ModuleType]) -> bool:
        """Return whether modules from `forget` have the code that is imported now, or that is in their files."""
        imported = self.digests()
        loaders = ((name, module.__loader__) for name, module in known.items())
        return all(
            (imported.get(name) or _digest_of(loader.path)) == loader.digest
            for name, loader in loaders
            if isinstance(loader, _SourceLoader)
        )

    def restore(self, known: dict[str, ModuleType]) -> None:
        """Restore the modules from `forget`."""
        for name in self._imported():
            del sys.modules[name]
        sys.modules.update(known)

    def _tried(self) -> set[Path]:
        return {path for path in _compiled if _is_beside(str(path), self.folder)}

    def _imported(self) -> dict[str, tuple[ModuleType, _SourceLoader]]:
        found = _all_imported().items()
        return {name: pair for name, pair in found if _is_beside(pair[1].path, self.folder)}


def _all_imported() -> dict[str, tuple[ModuleType, _SourceLoader]]:
    """Return the modules beside any configuration, with their loaders."""
    found = {}
    for name, module in tuple(sys.modules.items()):
        loader = getattr(module, "__loader__", None)
        if isinstance(loader, _SourceLoader):
            found[name] = (module, loader)
    return found


def _digest_of(file: str) -> str | None:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return None  # it was removed


def _is_beside(file: str, folder: Path) -> bool:
    """Return whether a file is in a folder, outside this package and outside virtual environments."""
    path = Path(file)
    if not path.is_relative_to(folder) or path.is_relative_to(_PACKAGE):
        return False
    return "site-packages" not in path.relative_to(folder).parts


def _look_in(folder: Path) -> None:
    if str(folder) not in sys.path[:1]:
        sys.path[:] = [str(folder), *(path for path in sys.path if path != str(folder))]
    if not _folders:
        sys.path_hooks.insert(0, _finder)
    _folders.add(folder)
    for path in [path for path in sys.path_importer_cache if _is_beside(path, folder)]:
        del sys.path_importer_cache[path]


def _finder(path: str) -> FileFinder:
    """Return the finder for the folder of a configuration (`sys.path_hooks`)."""
    if not any(_is_beside(path, folder) for folder in _folders) or not Path(path).is_dir():
        raise ImportError(f"{path} is no folder beside a configuration")
    return FileFinder(path, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_SourceLoader, SOURCE_SUFFIXES))


class _SourceLoader(SourceFileLoader):
    """Compiles the current source, without `.pyc` files."""

    digest = ""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        source = self.get_data(path)
        _compiled.add(Path(path))
        self.digest = hashlib.sha256(source).hexdigest()
        code: CodeType = self.source_to_code(source, path)
        return code
