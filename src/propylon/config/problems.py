"""Problems of a configuration, for people and tools.

A problem is one line, `file:line:column: path: message, hint`, that an editor can jump to. A warning has the same form:
the configuration can be used, but surely does not do what was meant. Rules of the file: all
problems are reported together, ordered by position; an invalid value is shown, truncated, unless it may be a secret:
it came from the environment or a file, or a key on its path suggests one.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Path: TypeAlias = tuple[str | int, ...]

ERROR: Final = "error"
WARNING: Final = "warning"

ENVIRONMENT: Final = "environment"
"""The file name in problems of environment variables."""

_MAX_SHOWN_CHARACTERS: Final = 60
_SECRET: Final = re.compile(r"pass(?!ive)|secret|token|key|credential|auth|cookie|signature|private", re.IGNORECASE)
_CREDENTIALS_IN_URL: Final = re.compile(r"//[^/\s]*@")
# Keys in the context of validation errors: the keys of which one is missing, how many steps below their model the error
# is located, and the keys that an unknown key stands for. The texts of messages cannot refer to them.
NEEDS: Final = "needs!"
DEPTH: Final = "depth!"
MEANS: Final = "means!"

_TEXT_WANTED: Final = "string_type"
# Appended by pydantic to the location of an invalid key of a mapping.
_KEY: Final = "[key]"
# Errors with a complete message, which needs no value.
_WITHOUT_VALUE: Final = frozenset({"complete", "unknown_key", "missing", "too_short"})
_MESSAGES: Final = {
    "missing": "required key is missing",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "string_type": "should be text",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "dict_type": "should be a mapping of keys to values",
    "model_type": "should be a mapping of keys to values",
    "model_attributes_type": "should be a mapping of keys to values",
    "string_too_short": "should not be empty",
    "string_pattern_mismatch": "has characters that are not allowed here",
    "too_short": "should not be empty",
}


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a file; line and column count from 1. A call of a Python program has no column."""

    file: str
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem, its position, and a hint if there is one; `severity` is `error` or `warning`."""

    file: str
    line: int | None
    column: int | None
    path: str
    message: str
    hint: str | None = None
    severity: str = ERROR

    def __str__(self) -> str:
        location = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        text = self.message if self.hint is None else f"{self.message}, {self.hint}"
        kind = "" if self.severity == ERROR else self.severity
        return ": ".join(part for part in (location, kind, self.path, text) if part)

    def as_dict(self) -> dict[str, str | int | None]:
        """Return the fields, for JSON."""
        return asdict(self)


def in_order(problems: Iterable[Problem], files: Iterable["FilePath"] = ()) -> tuple[Problem, ...]:
    """Return problems by file and position; `files` come first."""
    found = tuple(problems)
    names = dict.fromkeys([*map(str, files), *(problem.file for problem in found)])
    order = {name: number for number, name in enumerate(names)}
    return tuple(sorted(found, key=lambda problem: (order[problem.file], problem.line or 0, problem.column or 0)))


class ConfigError(Exception):
    """The configuration cannot be used.

    Attributes:
        problems: every reason, by file and position.
        files: the files that were read, or missed: an edit of one of them may be the remedy.
        source, context: the data that is not valid, if it could be read, and its context of validation.
    """

    def __init__(
        self,
        problems: Iterable[Problem],
        files: Iterable["FilePath"] = (),
        source: "ConfigSource | None" = None,
        context: Any = None,
    ) -> None:
        self.files = tuple(files)
        self.problems = in_order(problems, self.files)
        self.source = source
        self.context = context
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[tuple[Problem, ...], tuple["FilePath", ...]]]:
        return type(self), (self.problems, self.files)


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """The source of a configuration: its data, the position of each part, and the paths of secrets.

    `file` is the name for problems of parts without a position.
    """

    file: str
    data: Any
    values: Mapping[Path, Position] = field(default_factory=dict)
    keys: Mapping[Path, Position] = field(default_factory=dict)
    secrets: Collection[Path] = ()

    def problem(self, path: Path, message: str, hint: str | None = None, *, at_key: bool = False) -> Problem:
        """Return a problem of the value at `path`, at the position of the nearest enclosing part that has one."""
        position = (self.keys.get(path) if at_key else None) or self.position(path)
        return Problem(position.file, position.line, position.column, ".".join(map(str, path)), message, hint)

    def written(self, path: Path) -> Path:
        """Return a path without the steps that are not written, such as 0 where one value stands for a list."""
        return path if self.data is None else located(path, self.data)[0]

    def position(self, path: Path) -> Position:
        """Return the position of the value at `path`, or of the nearest enclosing part that has one."""
        for length in range(len(path), -1, -1):
            if (position := self.values.get(path[:length])) is not None:
                return position
        return Position(self.file)


def is_secret(key: str) -> bool:
    """Return whether the name of a key suggests that its value is a secret."""
    return _SECRET.search(key) is not None


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the closest known word, or `None` if none is close."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def suggest(word: str, known: Iterable[str]) -> str | None:
    """Return `did you mean 'x'?` for the closest known word, or `None` if none is close."""
    close = closest(word, known)
    return None if close is None else f"did you mean {close!r}?"


def from_validation(
    error: "ValidationError", source: ConfigSource, homes: Mapping[Path, tuple[Path, str]] | None = None
) -> list[Problem]:
    """Return the problems of a validation error.

    Those of a union's members for one value become one problem. A key that is missing because another one is misspelt
    or misplaced is none of its own.

    Args:
        homes: for each misplaced key the mapping that it belongs to, with a hint.
    """
    homes = homes or {}
    found: dict[Path, Problem] = {}
    parts = _without_follow_ons(error.errors(include_url=False), source.data, homes)
    for part in parts:
        kind, loc = part["type"], part["loc"]
        if kind == "too_short" and any(other["loc"][: len(loc)] == loc != other["loc"] for other in parts):
            continue  # the errors of its items are reported
        path, value = located(loc, source.data, keep_last=kind in ("missing", "unknown_key"))
        is_key = loc[-1:] == (_KEY,)
        if is_key:
            value = path[-1]
        message = _MESSAGES.get(kind) or _reworded(part["msg"])
        hint = part.get("ctx", {}).get("hint") or _hint(kind, value)
        if path in homes and kind == "unknown_key":
            hint = homes[path][1]
        if kind not in _WITHOUT_VALUE:
            message += _shown(value, path, source)
        problem = source.problem(path, message, hint, at_key=is_key or kind == "unknown_key")
        same = (*path, message) if is_key or kind in _WITHOUT_VALUE else path
        before = found.get(same)
        if before is not None and before.message != problem.message:
            problem = source.problem(path, f"{_without_value(before.message)} or {problem.message}", problem.hint)
        found[same] = problem
    return list(found.values())


def unknown_keys(error: "ValidationError", data: Any) -> list[Path]:
    """Return the paths of the unknown keys that a validation error reports."""
    parts = error.errors(include_url=False)
    return [located(part["loc"], data, keep_last=True)[0] for part in parts if part["type"] == "unknown_key"]


def _without_follow_ons(
    parts: "list[ErrorDetails]", data: Any, homes: Mapping[Path, tuple[Path, str]]
) -> "list[ErrorDetails]":
    """Return the errors without those of keys that an unknown key beside them, or elsewhere, stands for."""
    meant: dict[Path, set[str]] = {}
    for path, (home, _) in homes.items():
        meant.setdefault(home, set()).add(str(path[-1]))
    for part in parts:
        keys = part.get("ctx", {}).get(MEANS, ())
        if keys and located(part["loc"], data, keep_last=True)[0] not in homes:
            meant.setdefault(located(part["loc"][:-1], data)[0], set()).update(keys)

    def follows(part: "ErrorDetails") -> bool:
        context, loc = part.get("ctx", {}), part["loc"]
        needs, depth = context.get(NEEDS, ()), context.get(DEPTH, 0)
        if part["type"] == "missing":
            needs, depth = (loc[-1],), 1
        return not meant.get(located(loc[: len(loc) - depth], data)[0], set()).isdisjoint(needs)

    return [part for part in parts if not follows(part)]


def located(loc: Path, data: Any, *, keep_last: bool = False) -> tuple[Path, Any]:
    """Return the steps of `loc` that exist in the data, and the value there; others name members of unions."""
    path: list[str | int] = []
    for index, step in enumerate(loc):
        inside = isinstance(step, int) and step < len(data) if isinstance(data, list | tuple) else _has(data, step)
        if inside:
            data = data[step]
        elif not (keep_last and index == len(loc) - 1):
            continue
        path.append(step)
    return tuple(path), data


def _has(data: Any, step: str | int) -> bool:
    return isinstance(data, Mapping) and step in data


def _reworded(message: str) -> str:
    for prefix, instead in (("Value error, ", ""), ("Assertion failed, ", ""), ("Input should be ", "should be ")):
        if message.startswith(prefix):
            return instead + message.removeprefix(prefix)
    return message


def _hint(kind: str, value: Any) -> str | None:
    if kind == "tuple_type" and isinstance(value, Mapping):
        return "begin each item with '- '"
    if kind in ("dict_type", "model_type") and isinstance(value, list | tuple):
        return "write 'NAME: value' in lines of their own, without '- '"
    if kind == _TEXT_WANTED and isinstance(value, bool | int | float):
        return "put it in quotes"
    return None


def _shown(value: Any, path: Path, source: ConfigSource) -> str:
    if isinstance(value, Mapping | list | tuple) or (value is not None and not isinstance(value, str | int | float)):
        return ""
    if path in source.secrets or any(isinstance(step, str) and is_secret(step) for step in path):
        return ""
    if value is None:
        return " (got nothing)"
    if isinstance(value, bool):
        return f" (got {str(value).lower()})"
    text = repr(_CREDENTIALS_IN_URL.sub("//***@", value) if isinstance(value, str) else value)
    return f" (got {text if len(text) <= _MAX_SHOWN_CHARACTERS else text[:_MAX_SHOWN_CHARACTERS] + '...'})"


def _without_value(message: str) -> str:
    return message.partition(" (got ")[0]
