"""A YAML file as a tree of nodes with their positions.

PyYAML's parser is driven event by event instead of through its composer: the composer recurses in C without a bound,
drops duplicate keys, and constructs arbitrary tags. Rules of the file: one document, only the tags of the core schema,
no nesting deeper than `MAX_DEPTH`, no file larger than `MAX_FILE_BYTES`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

import yaml

from propylon.config import other_gateways
from propylon.config.problems import ConfigError, Position, Problem
from propylon.config.yaml_errors import explain

# A configuration of ten thousand routes has about 2 MiB.
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
# Deeper than files written by hand, and far below Python's recursion limit.
MAX_DEPTH: Final = 100

LOADER: Final[type[Any]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE: Final = "tag:yaml.org,2002:"
_SCALAR_TAGS: Final = frozenset({"str", "int", "float", "bool", "null"})


@dataclass(frozen=True, slots=True, eq=False)
class ScalarNode:
    """A scalar; `tag` is `str` for quoted and block text, `None` for plain text, which is resolved by its form."""

    position: Position
    text: str
    tag: str | None


@dataclass(frozen=True, slots=True, eq=False)
class ListNode:
    """A sequence."""

    position: Position
    items: "list[Node]"


@dataclass(frozen=True, slots=True, eq=False)
class MappingNode:
    """A mapping as written: in order, with duplicates and merge keys."""

    position: Position
    items: "list[tuple[Node, Node]]"


Node: TypeAlias = ScalarNode | ListNode | MappingNode


def read(path: Path) -> tuple[Node | None, int]:
    """Return the root node of a file, `None` if it is empty, and its size in bytes.

    Raises `ConfigError` with the problem that stopped it.
    """
    name, raw = str(path), read_bytes(path)
    return parse(decode(raw, name), name), len(raw)


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, cut off behind the size that is too large; raises `ConfigError`."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError([_unreadable(str(path), error)]) from None


def decode(raw: bytes, name: str) -> str:
    """Return the text of a file; raises `ConfigError` with the position if it is too large or not UTF-8."""
    if len(raw) > MAX_FILE_BYTES:
        _fail(name, None, f"is larger than {MAX_FILE_BYTES // 2**20} MiB, which no configuration is")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", "replace")
        position = Position(name, before.count("\n") + 1, len(before) - before.rfind("\n"))
        _fail(name, position, f"is not UTF-8: byte 0x{raw[error.start]:02x}", "save the file as UTF-8")


def parse(text: str, name: str) -> Node | None:
    """Return the root node of the only document in `text`, or `None` if there is none.

    Raises `ConfigError` with the problem that stopped the parser.
    """
    surrogate = next((index for index, char in enumerate(text) if "\ud800" <= char <= "\udfff"), None)
    if surrogate is not None:
        _fail(name, Position(name, text.count("\n", 0, surrogate) + 1, 1), "has a character that is not Unicode text")
    if len(text) > MAX_FILE_BYTES:
        _fail(name, None, f"is larger than {MAX_FILE_BYTES // 2**20} MiB, which no configuration is")
    try:
        root = _Builder(name, yaml.parse(text, Loader=LOADER)).document()
    except yaml.YAMLError as error:
        if (other := other_gateways.of_text(text)) is not None:
            _fail(name, None, other, other_gateways.HINT)
        line, column, message, hint = explain(error, text)
        _fail(name, None if line is None else Position(name, line + 1, column + 1), message, hint)
    except (ValueError, OverflowError) as error:  # raised by the pure Python scanner for a \U beyond Unicode
        _fail(name, None, f"not YAML: {error}")
    if isinstance(root, ScalarNode) and (other := other_gateways.of_text(text)) is not None:
        _fail(name, root.position, other, other_gateways.HINT)
    return root


class _Builder:
    """Builds nodes from the parser's events and resolves aliases."""

    def __init__(self, name: str, events: Iterator[Any]) -> None:
        self._name = name
        self._events = events
        self._anchors: dict[str, Node] = {}
        self._open: set[str] = set()

    def document(self) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._fail(event, "a second document begins here", "keep one document in a file")
                root = self._node(next(self._events), 1)
        return root

    def _node(self, event: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self._fail(event, f"is nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.anchor:
            self._open.add(event.anchor)
        node = self._new(event, depth)
        if event.anchor:
            self._open.discard(event.anchor)
            self._anchors[event.anchor] = node
        return node

    def _new(self, event: Any, depth: int) -> Node:
        position = self._position(event)
        if isinstance(event, yaml.ScalarEvent):
            return ScalarNode(position, event.value, self._scalar_tag(event))
        if isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(event, "seq")
            items = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(item, depth + 1))
            return ListNode(position, items)
        self._check_tag(event, "map")
        pairs = []
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            key_node = self._node(key, depth + 1)
            pairs.append((key_node, self._node(next(self._events), depth + 1)))
        return MappingNode(position, pairs)

    def _alias(self, event: Any) -> Node:
        if event.anchor in self._open:
            self._fail(event, f"*{event.anchor} is inside of what it stands for")
        if event.anchor not in self._anchors:
            self._fail(event, f"*{event.anchor} has no anchor before it", f"write &{event.anchor} where it stands for")
        return self._anchors[event.anchor]

    def _scalar_tag(self, event: Any) -> str | None:
        if event.tag is None or event.tag == "!":
            return None if event.implicit[0] and not event.tag else "str"
        tag = str(event.tag).removeprefix(_CORE)
        if tag not in _SCALAR_TAGS:
            self._fail(event, f"the tag {event.tag!r} is not supported", "write plain values")
        return tag

    def _check_tag(self, event: Any, allowed: str) -> None:
        if event.tag not in (None, "!", _CORE + allowed):
            self._fail(event, f"the tag {event.tag!r} is not supported", "write plain values")

    def _fail(self, event: Any, message: str, hint: str | None = None) -> NoReturn:
        _fail(self._name, self._position(event), message, hint)

    def _position(self, event: Any) -> Position:
        return Position(self._name, event.start_mark.line + 1, event.start_mark.column + 1)


def _fail(name: str, position: Position | None, message: str, hint: str | None = None) -> NoReturn:
    at = position or Position(name)
    raise ConfigError([Problem(at.file, at.line, at.column, "", message, hint)])


def _unreadable(name: str, error: OSError | ValueError) -> Problem:
    hint = None
    if isinstance(error, FileNotFoundError):
        message, hint = "there is no such file", "give the path of the configuration"
    elif isinstance(error, IsADirectoryError):
        message, hint = "is a directory", "give the path of a file in it, such as gateway.yaml"
    elif isinstance(error, PermissionError):
        message, hint = "may not be read", "check the file's permissions and its owner"
    elif isinstance(error, OSError):
        message = f"cannot be read: {error.strerror}"
    else:
        message = "is not the path of a file"
    return Problem(name, None, None, "", message, hint)
