"""Regular expressions of the configuration, matched on untrusted input: accepted only if linear in time.

Python's `re` backtracks, so a pattern such as `(a+)+$` lets one request block a worker for minutes. Rules of this file:

- A pattern matches the whole value (`fullmatch`), as bytes; `.` matches any byte. `^` and `$` at the ends are allowed
  and redundant.
- The pattern is converted to an automaton (Glushkov's: one state for each character set in it). Backtracking is linear
  if the number of paths for an input is bounded. A pattern is refused if a loop can be passed in two ways on the same
  input (exponential), or if two successive loops can match the same input (polynomial); this is the EDA/IDA criterion
  of Weber and Seidl.
- Back-references, lookaround, atomic groups and whatever the analysis does not support are refused.
- A final `.*` always succeeds at once, so it does not count as a loop: `.*Mobile.*` is accepted.
"""

from __future__ import annotations

import importlib
import re
from typing import Any, NamedTuple

from propylon.routing.automaton import EVERY_BYTE, Automaton, TooComplex

_MAX_PATTERN = 1000  # characters
_MAX_POSITIONS = 300  # states, after counted repeats are written out
_FLAGS = re.IGNORECASE | re.DOTALL | re.MULTILINE | re.VERBOSE

_parser: Any = importlib.import_module("re._parser")
_OPEN_ENDED: Any = _parser.MAXREPEAT

_CATEGORIES = {"CATEGORY_DIGIT": rb"\d", "CATEGORY_SPACE": rb"\s", "CATEGORY_WORD": rb"\w"}
_CATEGORIES |= {name.replace("_", "_NOT_"): sign.upper() for name, sign in _CATEGORIES.items()}
_REFUSED = {
    "GROUPREF": "a back-reference", "GROUPREF_EXISTS": "a condition on a group", "ASSERT": "lookaround",
    "ASSERT_NOT": "lookaround", "ATOMIC_GROUP": "an atomic group", "POSSESSIVE_REPEAT": "a possessive quantifier",
}  # fmt: skip


class UnsafeRegex(ValueError):
    """A pattern that is invalid, or not provably linear; the message names the part and the fix."""


class _Part(NamedTuple):
    """A part of the pattern: whether it can be empty, its first states, its last states."""

    empty: bool
    first: list[int]
    last: list[int]


_EMPTY_PART = _Part(True, [], [])


def compile_regex(pattern: str) -> re.Pattern[bytes]:
    """Compile a pattern for `fullmatch` on bytes. Raises `UnsafeRegex` with a sentence for the operator."""
    if len(pattern) > _MAX_PATTERN:
        raise UnsafeRegex(f"the pattern is longer than {_MAX_PATTERN} characters")
    try:
        raw = pattern.encode("ascii")
        tree = _parser.parse(raw, re.DOTALL)
        compiled = re.compile(raw, re.DOTALL)
    except UnicodeEncodeError:
        raise UnsafeRegex("the pattern is not ASCII; write such characters percent-encoded") from None
    except (re.error, RecursionError, OverflowError) as error:
        raise UnsafeRegex(f"the pattern is not a regular expression: {error}") from None
    if compiled.flags & ~_FLAGS:
        raise UnsafeRegex("the pattern sets a flag other than i, s, m or x")
    reader = _Reader()
    reader.link(reader.start, reader.sequence(_without_final_loop(list(tree))))
    try:
        reason = reader.automaton.ambiguity()
    except TooComplex:
        reason = "it is too complex to prove that matching is fast; split it into several routes"
    if reason:
        raise UnsafeRegex(f"the pattern could take very long on hostile input: {reason}")
    return compiled


def _without_final_loop(nodes: list[Any]) -> list[Any]:
    """Replace a final `.*` or `.+`: it matches any input without backtracking."""
    if nodes and str(nodes[-1][0]) == "AT" and str(nodes[-1][1]) in ("AT_END", "AT_END_STRING"):
        nodes = nodes[:-1]
    if not nodes:
        return nodes
    operator, argument = str(nodes[-1][0]), nodes[-1][1]
    if operator == "SUBPATTERN":
        _check_flags(argument)
        return [*nodes[:-1], *_without_final_loop(list(argument[3]))]
    if operator in ("MAX_REPEAT", "MIN_REPEAT"):
        least, most, body = argument
        if most is _OPEN_ENDED and least <= 1 and [str(node[0]) for node in body] == ["ANY"]:
            return [*nodes[:-1], *list(body)[:least]]
    return nodes


def _check_flags(argument: Any) -> None:
    _, added, removed, _ = argument
    if added & ~re.IGNORECASE or removed:
        raise UnsafeRegex("the pattern changes flags inside a group; only (?i:...) is understood")


class _Reader:
    """Converts the parse tree of `re` into an automaton, and refuses unsupported nodes."""

    def __init__(self) -> None:
        self.automaton = Automaton()
        self.start = [self.automaton.add(0)]

    def link(self, sources: list[int], part: _Part) -> None:
        for source in sources:
            self.automaton.follow[source] += part.first

    def sequence(self, nodes: list[Any]) -> _Part:
        joined = _EMPTY_PART
        for node in nodes:
            part = self.node(str(node[0]), node[1])
            self.link(joined.last, part)
            joined = _Part(
                joined.empty and part.empty,
                joined.first + part.first if joined.empty else joined.first,
                part.last + joined.last if part.empty else part.last,
            )
        return joined

    def node(self, operator: str, argument: Any) -> _Part:
        if operator == "AT":
            return _EMPTY_PART
        if operator == "SUBPATTERN":
            _check_flags(argument)
            return self.sequence(list(argument[3]))
        if operator == "BRANCH":
            return self.branch([self.sequence(list(nodes)) for nodes in argument[1]])
        if operator in ("MAX_REPEAT", "MIN_REPEAT"):
            return self.repeat(*argument)
        state = self.automaton.add(_bytes_of(operator, argument))
        if state > _MAX_POSITIONS:
            raise UnsafeRegex(f"the pattern is over {_MAX_POSITIONS} characters with its counted repeats written out")
        return _Part(False, [state], [state])

    def branch(self, parts: list[_Part]) -> _Part:
        if sum(part.empty for part in parts) > 1:
            raise UnsafeRegex("the pattern has two alternatives that can both be empty")
        return _Part(
            any(part.empty for part in parts),
            [state for part in parts for state in part.first],
            [state for part in parts for state in part.last],
        )

    def repeat(self, least: int, most: Any, body: Any) -> _Part:
        """Expand the counted copies; an open end is a loop on the last copy."""
        copies = max(least, 1) if most is _OPEN_ENDED else int(most)
        first: list[int] = []
        last: list[int] = []
        previous: list[int] = []
        for number in range(1, copies + 1):
            part = self.sequence(list(body))
            if part.empty:
                raise UnsafeRegex("the pattern repeats something that can be empty, as (a*)* does")
            self.link(previous, part)
            first = first or part.first
            previous = part.last
            if number >= least:
                last = last + part.last
        if most is _OPEN_ENDED:
            self.link(previous, part)
        return _Part(least == 0 or copies == 0, first, last)


def _bytes_of(operator: str, argument: Any) -> int:
    """Return the bytes that one character of the pattern matches, as a 256-bit set with both cases of each letter."""
    if operator == "ANY":
        return EVERY_BYTE
    if operator == "LITERAL":
        return _both_cases(1 << argument)
    if operator == "NOT_LITERAL":
        return _both_cases(EVERY_BYTE & ~(1 << argument))
    if operator != "IN":
        what = _REFUSED.get(operator, operator.lower().replace("_", " "))
        raise UnsafeRegex(f"the pattern has {what}, which can make matching slow; write it without")
    members = 0
    for kind, value in argument:
        if str(kind) == "RANGE":
            members |= (1 << (value[1] + 1)) - (1 << value[0])
        elif str(kind) == "LITERAL":
            members |= 1 << value
        elif str(kind) == "CATEGORY":
            sign = re.compile(_CATEGORIES[str(value)])
            members |= sum(1 << byte for byte in range(256) if sign.match(bytes((byte,))))
    negated = str(argument[0][0]) == "NEGATE"
    return _both_cases(EVERY_BYTE & ~members if negated else members)


def _both_cases(members: int) -> int:
    """Add the other case of every letter: a superset of what `re` matches without (?i)."""
    letters = ((1 << 26) - 1) << ord("A")
    return members | (members & letters) << 32 | (members & letters << 32) >> 32
