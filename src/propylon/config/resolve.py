"""Resolves nodes to plain data: types, aliases, merge keys, variables and secrets from files.

Rules of the file: keys are text as written (`404:` and `no:` are "404" and "no"); duplicate keys are refused; a problem
does not stop resolving, so that all of them are reported; the expansion of aliases is bounded.
"""

import os
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, Final

from propylon.config import scalars
from propylon.config.document import MAX_DEPTH, ListNode, MappingNode, Node, ScalarNode
from propylon.config.environment import EnvironmentProblem, substitute
from propylon.config.problems import ConfigError, ConfigSource, Path, Position, Problem

# With aliases expanded. Ten thousand routes have about 300 000 nodes; a "billion laughs" file stops here.
MAX_NODES: Final = 1_000_000
# No key, password or token is larger.
MAX_SECRET_BYTES: Final = 1024 * 1024

_MERGE: Final = "<<"
_FROM_FILE: Final = "from_file"
_SECRET_KEYS: Final = frozenset({"policies", "redirect", "respond", "balance", "discover"})


class Resolver:
    """Resolves one document to data.

    Attributes:
        problems: the problems found.
        failed: the paths without a value.
        files: the files that `from_file` and `include` refer to.
        patterns: the patterns of files to include.
        secrets: the values from the environment and from files.
    """

    def __init__(self, name: str, base_dir: FilePath, environment: Mapping[str, str] | None = None) -> None:
        self.problems: list[Problem] = []
        self.failed: set[Path] = set()
        self.files: list[FilePath] = []
        self.patterns: set[str] = set()
        self.secrets: set[str] = set()
        self._name = name
        self._base_dir = base_dir
        self._environment = os.environ if environment is None else environment
        self._nodes = 0
        self._values: dict[Path, Position] = {}
        self._keys: dict[Path, Position] = {}
        self._secrets: set[Path] = set()

    def source(self, root: Node) -> ConfigSource:
        """Return the data of a document with positions; raises `ConfigError` if aliases expand beyond the bounds."""
        data = self._value(root, (), root.position)
        return ConfigSource(self._name, data, self._values, self._keys, self._secrets)

    def _value(self, node: Node, path: Path, position: Position) -> Any:
        self._count(1, len(path), node, path)
        if isinstance(node, ScalarNode):
            self._values[path] = node.position
            return self.scalar(node, path)
        self._values[path] = position
        if isinstance(node, ListNode):
            return [self._value(item, (*path, index), item.position) for index, item in enumerate(node.items)]
        return self._mapping(node, path)

    def scalar(self, node: ScalarNode, path: Path) -> scalars.Scalar:
        """Return the value of a scalar, with its variables."""
        text = node.text
        if "${" in text:
            self._secrets.add(path)
            try:
                text = substitute(text, self._environment, self.secrets)
            except EnvironmentProblem as problem:
                self.report(path, node.position, str(problem), problem.hint)
                return text
        if node.tag == "str":
            return text
        value = scalars.resolve(text)
        if node.tag is not None and not _has_tag(value, node.tag):
            self.report(path, node.position, f"is not of its type !!{node.tag}")
        return value

    def _mapping(self, node: MappingNode, path: Path) -> Any:
        data: dict[str, Any] = {}
        for key, (key_node, value) in self.pairs(node, path).items():
            self._keys[(*path, key)] = key_node.position
            data[key] = self._value(value, (*path, key), key_node.position)
        if list(data) == [_FROM_FILE] and not _SECRET_KEYS.isdisjoint(path):
            return self._secret(data[_FROM_FILE], path)
        return data

    def _count(self, more: int, depth: int, node: Node, path: Path) -> None:
        self._nodes += more
        if self._nodes > MAX_NODES:
            self.report(path, node.position, f"has more than {MAX_NODES} values when its aliases are expanded")
            raise ConfigError(self.problems)
        if depth > MAX_DEPTH:
            self.report(
                path, node.position, f"is nested more than {MAX_DEPTH} levels deep when its aliases are expanded"
            )
            raise ConfigError(self.problems)

    def pairs(self, node: MappingNode, path: Path, depth: int = 0) -> dict[str, tuple[ScalarNode, Node]]:
        """Return the pairs of a mapping and its merged mappings; its own keys take precedence."""
        self._count(len(node.items) if depth else 0, depth, node, path)
        own: dict[str, tuple[ScalarNode, Node]] = {}
        merged: dict[str, tuple[ScalarNode, Node]] = {}
        for key, value in node.items:
            if not isinstance(key, ScalarNode):
                self.report(path, key.position, "a key is text, not a list or a mapping")
            elif key.text == _MERGE and key.tag is None:
                for pairs in self._merged(value, path, depth):
                    merged = {**pairs, **merged}
            elif key.text in own:
                first = own[key.text][0].position
                place = f"line {first.line}" if first.file == key.position.file else f"{first.file}:{first.line}"
                self.report((*path, key.text), key.position, f"duplicate key {key.text!r}, first in {place}")
            else:
                own[key.text] = (key, value)
        return {**merged, **own}

    def _merged(self, value: Node, path: Path, depth: int) -> list[dict[str, tuple[ScalarNode, Node]]]:
        sources = value.items if isinstance(value, ListNode) else [value]
        found = []
        for source in sources:
            if isinstance(source, MappingNode):
                found.append(self.pairs(source, path, depth + 1))
            else:
                self.report((*path, _MERGE), source.position, "'<<' merges mappings only")
        return found

    def _secret(self, file: Any, path: Path) -> str:
        """Return the content of a file without surrounding white space."""
        self._secrets.add(path)
        inside = (*path, _FROM_FILE)
        try:
            if isinstance(file, str):
                self.files.append(FilePath(self._base_dir, file))
            secret = _read_secret(file, self._base_dir)
            self.secrets.add(secret)
            return secret
        except ValueError as error:
            if inside not in self.failed:
                self.report(inside, self._values[inside], str(error))
            self.failed.add(path)
            return str(file)

    def report(self, path: Path, position: Position, message: str, hint: str | None = None) -> None:
        self.failed.add(path)
        self.problems.append(
            Problem(position.file, position.line, position.column, ".".join(map(str, path)), message, hint)
        )


def _read_secret(file: Any, base_dir: FilePath) -> str:
    if not isinstance(file, str) or not file or "\0" in file:
        raise ValueError("should be the path of a file")
    location = FilePath(base_dir, file)
    try:
        with location.open("rb") as opened:
            raw = opened.read(MAX_SECRET_BYTES + 1)
        text = raw.decode().strip()
    except OSError as error:
        raise ValueError(f"{location} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{location} is not UTF-8 text") from None
    if not text:
        raise ValueError(f"{location} is empty")
    if len(raw) > MAX_SECRET_BYTES:
        raise ValueError(f"{location} is larger than {MAX_SECRET_BYTES // 2**20} MiB, too large for a secret")
    return text


def _has_tag(value: scalars.Scalar, tag: str) -> bool:
    if tag == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    kinds: dict[str, type] = {"int": int, "bool": bool, "null": type(None)}
    return isinstance(value, kinds[tag]) and (tag != "int" or not isinstance(value, bool))
