"""Problems of a configuration, for people and tools.

A problem is one line, `file:line:column: path: message, hint`, that an editor can jump to. A warning has the same form:
the configuration can be used, but surely does not do what was meant. All problems are reported together, ordered by
position.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path as FilePath

Path: TypeAlias = tuple[str | int, ...]

ERROR: Final = "error"
WARNING: Final = "warning"

ENVIRONMENT: Final = "environment"
"""The file name in problems of environment variables."""

_SECRET: Final = re.compile(r"pass(?!ive)|secret|token|key|credential|auth|cookie|signature|private", re.IGNORECASE)


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
