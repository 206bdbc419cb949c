"""What a parser's error means: the mistake that people make, where it is, and the way out.

Rules of the file: each rule looks at the error and at the lines around it, and returns `None` if it is not sure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import yaml


class Explained(NamedTuple):
    """An error of the parser; line and column count from 0."""

    line: int | None
    column: int
    message: str
    hint: str | None


class _Error(NamedTuple):
    """What the parser says, with the lines of the text; `line` and `column` count from 0."""

    problem: str
    context: str
    line: int
    column: int
    context_line: int
    context_column: int
    lines: Sequence[str]

    @property
    def text(self) -> str:
        """The line of the error."""
        return self.lines[self.line] if self.line < len(self.lines) else ""

    def at(self, message: str, hint: str, column: int | None = None, line: int | None = None) -> Explained:
        """Return what it means."""
        return Explained(
            self.line if line is None else line, self.column if column is None else column, f"not YAML: {message}", hint
        )


_BRACES: Final = re.compile(r"(?<![\"'\w])[^\s\"',:\[{][^\s\"',]*\{[^\s{}\"',:]*\}[^\s\"',}\]]*")
_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_KEY: Final = re.compile(r"\s*(?:- +)*[^\s#'\"\[{&*-][^:#]*:(?:\s|$)")
_ITEMS: Final = re.compile(r"\s*(?:- +)*")
_COMPLETE: Final = re.compile(r"\s*(?:- +)*[^\s#]+:\s+[^\s#&|>]")
_INDICATORS: Final = {"*": "an alias", "&": "an anchor", "@": "nothing", "`": "nothing", "%": "nothing", "!": "a tag"}


def explain(error: yaml.YAMLError, text: str) -> Explained:
    """Return what an error of the parser means."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem, context = str(getattr(error, "problem", None) or ""), str(getattr(error, "context", None) or "")
    plain = ", ".join(part for part in (problem, context) if part) or str(error).replace("\n", " ")
    if mark is None:
        return Explained(None, 0, f"not YAML: {plain}", None)
    start = getattr(error, "context_mark", None) or mark
    found = _Error(problem, context, mark.line, mark.column, start.line, start.column, _lines(text, mark.line))
    for rule in _RULES:
        if (explained := rule(found)) is not None:
            return explained
    return Explained(mark.line, mark.column, f"not YAML: {plain}", None)


def _lines(text: str, last: int) -> list[str]:
    """Return the lines of a text, as YAML breaks them, with blank ones up to the number `last`."""
    lines = _BREAK.split(text)
    return lines + [""] * (last + 1 - len(lines))


def _tab(error: _Error) -> Explained | None:
    for line in (error.line, error.line - 1):
        if 0 <= line < len(error.lines) and "\t" in _indentation(error.lines[line]):
            column = error.lines[line].index("\t")
            return error.at("a tab in the indentation", "indent with spaces, not with tabs", column, line)
    return None


def _braces(error: _Error) -> Explained | None:
    """`{path: /x/{id}}`: in a flow mapping, `{` begins another one."""
    if "flow" in error.context and (found := _BRACES.search(error.text)) is not None:
        return error.at(f"{found[0]} is not in quotes", f'write "{found[0]}"', found.start())
    return None


def _indicator(error: _Error) -> Explained | None:
    """Text that begins with a character of YAML's own."""
    for column in (error.column - 1, error.column):
        char = error.text[column : column + 1]
        if char in _INDICATORS and ("alphabetic" in error.problem or "cannot start any token" in error.problem):
            word = re.split(r"[\s,}\]]", error.text[column:], maxsplit=1)[0]
            return error.at(f"text cannot begin with {char}", f'put it in quotes: "{word}"', column)
    return None


def _open(error: _Error) -> Explained | None:
    """A quote or a bracket without an end."""
    at_end = error.line >= len(error.lines) or not "".join(error.lines[error.line :])[error.column :].strip()
    if "quoted scalar" in error.context:
        where = error.context_column
        return error.at(
            "the quote that begins here has no end", "write the same quote behind the text", where, error.context_line
        )
    if at_end and "flow" in error.context:
        char = "{" if "mapping" in error.context else "["
        hint = f"write {'}' if char == '{' else ']'} behind its last part"
        return error.at(f"the {char} that begins here has no end", hint, error.context_column, error.context_line)
    return None


def _second_colon(error: _Error) -> Explained | None:
    """`mapping values are not allowed`: the line before is no key, or this one is too deep, or has `: ` twice."""
    if "mapping values" not in error.problem:
        return None
    before = _before(error.lines, error.line)
    if before is not None and len(_indentation(error.text)) > len(_indentation(error.lines[before])):
        above = error.lines[before]
        if not _KEY.match(above):
            return _without_colon(error, before)
        column = len(_ITEMS.match(above)[0])  # type: ignore[index]  # it matches any text
        if _COMPLETE.match(above) and len(_indentation(error.text)) > column:
            return _misaligned(error, before, column)
    return error.at("': ' is in the line twice", "put text that has ': ' in quotes, or write lines of their own")


def _no_colon(error: _Error) -> Explained | None:
    """A line that is no key, between keys."""
    if "could not find expected ':'" not in error.problem or error.context_line >= len(error.lines):
        return None
    return _without_colon(error, error.context_line)


def _without_colon(error: _Error, line: int) -> Explained:
    text = error.lines[line]
    found = re.match(r"([\w-]+)[:\s]\s*(\S.*)", _ITEMS.sub("", text, count=1).split("#")[0].strip())
    fixed = f"{found[1]}: {found[2]}" if found is not None else "NAME: value"
    return error.at("there is no ': ' behind a key", f"write {fixed}", len(_indentation(text)), line)


def _indent(error: _Error) -> Explained | None:
    """A line whose indentation is that of no block around it."""
    if not any(each in error.problem for each in ("expected '-'", "expected key", "<document start>", "<block end>")):
        return None
    here, is_item = len(_indentation(error.text)), error.text.lstrip().startswith("- ")
    candidates: dict[int, int] = {}
    limit = 1_000
    for line in range(error.line - 1, -1, -1):
        above = error.lines[line]
        if not above.strip() or above.lstrip().startswith("#"):
            continue
        for column in _columns(above, is_item):
            if column < limit:
                candidates.setdefault(column, line)
        limit = min(limit, len(_indentation(above)) + 1)
    if not candidates or here in candidates:
        return None
    nearest = min(candidates, key=lambda column: (abs(column - here), -candidates[column]))
    return _misaligned(error, candidates[nearest], nearest)


def _misaligned(error: _Error, line: int, column: int) -> Explained:
    here = len(_indentation(error.text))
    message = f"this line is indented by {_spaces(here)}, which fits no line above it"
    return error.at(message, f"align it with line {line + 1}, by {_spaces(column)}", here)


def _spaces(number: int) -> str:
    return f"{number} space{'' if number == 1 else 's'}"


def _columns(line: str, is_item: bool) -> list[int]:
    """Return where the items of a line, or its key, begin."""
    column, found = len(_indentation(line)), []
    while line[column : column + 2] == "- ":
        if is_item:
            found.append(column)
        column += 2 + len(_indentation(line[column + 2 :]))
    return found if is_item else [column]


def _before(lines: Sequence[str], line: int) -> int | None:
    """Return the number of the last line before, without blank lines and comments."""
    found = (number for number in range(line - 1, -1, -1) if lines[number].strip() and lines[number].lstrip()[0] != "#")
    return next(found, None)


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


_RULES: Final[tuple[Callable[[_Error], Explained | None], ...]] = (
    _tab,
    _braces,
    _indicator,
    _open,
    _second_colon,
    _no_colon,
    _indent,
)
