"""`include`: a configuration in several files, merged before it is resolved, so that every part keeps its position.

Rules of the file: an included file has the keys of a whole configuration. Lists are joined, those of the including file
first; mappings are joined too, but what two files give is refused and names both places. Paths to include are relative
to the file that names them; all other paths of every file are relative to the folder of the main file.
"""

from __future__ import annotations

import os
from glob import escape, glob
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Final, TypeAlias

from propylon.config import document
from propylon.config.document import ListNode, MappingNode, Node, ScalarNode
from propylon.config.extensions import is_extension
from propylon.config.problems import ConfigError, Position

if TYPE_CHECKING:
    from propylon.config.resolve import Resolver

INCLUDE: Final = "include"
MAX_FILES: Final = 1000
MAX_INCLUDE_DEPTH: Final = 10

_SUFFIXES: Final = (".yaml", ".yml")
_WILDCARDS: Final = frozenset("*?[")

Items: TypeAlias = dict[str, tuple[ScalarNode, Node]]


class Includes:
    """Merges one document with what it includes.

    Problems, files and patterns are added to the `Resolver` that resolves the result.
    """

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._places: dict[FilePath, Position] = {}
        self._bytes = 0

    def merged(self, root: MappingNode, file: FilePath, folder: FilePath) -> MappingNode:
        """Return the root of the main file with everything it includes.

        Args:
            folder: what the paths that it includes are relative to.
        """
        self._places[_identity(file)] = Position(str(file), 1, 1)
        items = self._items(root, folder, (_identity(file),))
        return MappingNode(root.position, [item for key, item in items.items() if key != INCLUDE])

    def _items(self, root: MappingNode, folder: FilePath, stack: tuple[FilePath, ...]) -> Items:
        items = self._resolver.pairs(root, ())
        if INCLUDE not in items:
            return items
        key, value = items[INCLUDE]
        if len(stack) > MAX_INCLUDE_DEPTH:
            self._report(key.position, f"files are included more than {MAX_INCLUDE_DEPTH} levels deep")
            return items
        for text, position in self._texts(value):
            for file in self._files(text, folder, position):
                self._join(items, self._included(file, position, stack))
        return items

    def _texts(self, value: Node) -> list[tuple[str, Position]]:
        """Return the paths and patterns to include with their positions."""
        found = []
        for node in value.items if isinstance(value, ListNode) else [value]:
            known = len(self._resolver.problems)
            text = self._resolver.scalar(node, (INCLUDE,)) if isinstance(node, ScalarNode) else None
            if len(self._resolver.problems) > known:
                continue  # a variable of it is not set
            if isinstance(text, str) and text and "\0" not in text:
                found.append((text, node.position))
            else:
                self._report(node.position, "should be the path of a file or directory, or a list of these")
        return found

    def _files(self, text: str, folder: FilePath, position: Position) -> list[FilePath]:
        path = FilePath(folder, text)
        if not _WILDCARDS.isdisjoint(text):
            patterns = [str(FilePath(escape(str(folder)), text))]
        elif os.path.isdir(path):
            patterns = [str(FilePath(escape(str(path)), f"*{suffix}")) for suffix in _SUFFIXES]
        else:
            if not os.path.lexists(path):
                self._resolver.files.append(path)
                hint = "write the path relative to this file, or a pattern such as conf.d/*.yaml, which may match none"
                self._report(position, f"there is no file {path}", hint)
                return []
            return [path]
        self._resolver.patterns.update(patterns)
        return sorted({file for pattern in patterns for file in matching(pattern)})

    def _included(self, file: FilePath, position: Position, stack: tuple[FilePath, ...]) -> Items:
        """Read one file, and what it includes, without its extensions and its own `include`."""
        identity = _identity(file)
        if identity in stack:
            self._report(position, f"{file} includes itself", "put the files to include into a directory of their own")
            return {}
        if identity in self._places:
            first = self._places[identity]
            self._report(position, f"{file} is included already, in {first.file}:{first.line}", "remove one of them")
            return {}
        if len(self._places) > MAX_FILES:
            self._report(position, f"includes more than {MAX_FILES} files")
            return {}
        self._places[identity] = position
        self._resolver.files.append(file)
        try:
            root, size = document.read(file)
        except ConfigError as error:
            self._resolver.problems.extend(error.problems)
            return {}
        self._bytes += size
        if self._bytes > document.MAX_FILE_BYTES:
            self._report(position, f"includes more than {document.MAX_FILE_BYTES // 2**20} MiB")
            return {}
        if root is None:
            return {}
        if not isinstance(root, MappingNode):
            self._report(root.position, "should be a mapping of keys to values, as the main file is")
            return {}
        items = self._items(root, file.parent, (*stack, identity))
        return {key: item for key, item in items.items() if key != INCLUDE and not is_extension(key)}

    def _join(self, items: Items, more: Items) -> None:
        """Add the items of another file."""
        for name, (key, value) in more.items():
            first, before = items.get(name, (key, None))
            if before is None:
                items[name] = (key, value)
            elif isinstance(before, ListNode) and isinstance(value, ListNode):
                items[name] = (first, ListNode(before.position, [*before.items, *value.items]))
            elif isinstance(before, MappingNode) and isinstance(value, MappingNode):
                pairs = [*self._pairs(before, name), *self._pairs(value, name)]  # the resolver refuses duplicates
                items[name] = (first, MappingNode(before.position, pairs))
            else:
                message = f"duplicate key {name!r}, first in {first.position.file}:{first.position.line}"
                self._resolver.report((name,), key.position, message, "lists and mappings can be in several files")

    def _pairs(self, node: MappingNode, name: str) -> list[tuple[Node, Node]]:
        """Return the pairs of a mapping with its merge keys (`<<`) applied, which take effect within their file."""
        return [*self._resolver.pairs(node, (name,)).values()]

    def _report(self, position: Position, message: str, hint: str | None = None) -> None:
        self._resolver.report((INCLUDE,), position, message, hint)


def matching(pattern: str) -> list[FilePath]:
    """Return the files that a pattern matches, without hidden ones."""
    return [path for found in glob(pattern, recursive=True) if (path := FilePath(found)).is_file()]


def _identity(file: FilePath) -> FilePath:
    return file.resolve()
