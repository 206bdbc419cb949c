"""The tree of path segments of one host pattern, and the search in it.

A node has its literal segments in a table and at most one child for a parameter, so the cost of a step does not depend
on the number of routes. The search goes level by level, never deeper than the longest pattern; regular expressions do
not fit into a tree and are tried one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from propylon.http.target import after_segments

if TYPE_CHECKING:
    from propylon.routing.match import CompiledRule
    from propylon.routing.pattern import HostPattern, PathPattern

R = TypeVar("R")

Rank = tuple[int, tuple[int, ...], tuple[int, ...], int, int, int]


class RouteMatch(Generic[R]):
    """The matching route. Shared between requests: read only.

    Attributes:
        route: the object of the rule.
        params: the path's parameters, as in the canonical path (still escaped).
        rest: the path rest, which `*` matched, without a leading '/'; b"" if the pattern has no `*`.
    """

    __slots__ = ("params", "rest", "route")

    def __init__(self, route: R, params: dict[str, bytes], rest: bytes) -> None:
        self.route = route
        self.params = params
        self.rest = rest


class Entry(Generic[R]):
    """One host pattern and one path pattern of a rule; the unit of sorting and storage."""

    __slots__ = ("compiled", "host", "number", "path", "rank")

    def __init__(self, compiled: CompiledRule[R], host: HostPattern, path: PathPattern, position: int) -> None:
        rule = compiled.rule
        self.compiled = compiled
        self.host = host
        self.path = path
        self.rank: Rank = (-rule.priority, host.rank, path.rank, -compiled.conditions, rule.order, position)
        self.number = 0


class Candidate(Generic[R]):
    """An entry that matches by host and path, with its path parameters."""

    __slots__ = ("compiled", "entry", "match", "methods", "unconditional")

    def __init__(self, entry: Entry[R], params: dict[str, bytes], rest: bytes) -> None:
        self.entry = entry
        self.compiled = entry.compiled
        self.match = RouteMatch(entry.compiled.rule.route, params, rest)
        self.methods = entry.compiled.methods
        self.unconditional = not entry.compiled.checks

    def keep_slashes(self, path: bytes) -> None:
        """Take the path rest from the path before its slashes were merged."""
        pattern = self.entry.path
        if pattern.rest:
            self.match.rest = after_segments(path, len(pattern.segments)).lstrip(b"/")


class _Node(Generic[R]):
    """A node of the tree of segments."""

    __slots__ = ("exact", "literals", "parameter", "prefix")

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node[R]] = {}
        self.parameter: _Node[R] | None = None
        self.exact: list[Entry[R]] = []
        self.prefix: list[Entry[R]] = []


class Table(Generic[R]):
    """The paths of one host pattern."""

    __slots__ = ("depth", "regexes", "root")

    def __init__(self) -> None:
        self.root: _Node[R] = _Node()
        self.regexes: list[Entry[R]] = []
        self.depth = 0

    def add(self, entry: Entry[R]) -> None:
        path = entry.path
        if path.regex is not None:
            self.regexes.append(entry)
            return
        node = self.root
        for segment in path.segments:
            if segment is not None:
                node = node.literals.setdefault(segment, _Node())
            else:
                node.parameter = node.parameter or _Node()
                node = node.parameter
        (node.prefix if path.rest else node.exact).append(entry)
        self.depth = max(self.depth, len(path.segments))

    def collect(self, path: bytes, found: list[Candidate[R]]) -> None:
        """Append every entry whose path pattern matches."""
        parts = path[1:].split(b"/", self.depth)
        level: list[tuple[_Node[R], tuple[bytes, ...]]] = [(self.root, ())]
        for depth, part in enumerate(parts):
            deeper: list[tuple[_Node[R], tuple[bytes, ...]]] = []
            for node, values in level:
                if node.prefix:
                    rest = b"/".join(parts[depth:])
                    found += [_candidate(entry, values, rest) for entry in node.prefix]
                literal = node.literals.get(part)
                if literal is not None:
                    deeper.append((literal, values))
                if node.parameter is not None and part:
                    deeper.append((node.parameter, (*values, part)))
            level = deeper
        for node, values in level:
            for entries in (node.exact, node.prefix):
                for entry in entries:
                    found.append(_candidate(entry, values, b""))
        for entry in self.regexes:
            match = entry.path.regex.fullmatch(path) if entry.path.regex else None
            if match is not None:
                found.append(Candidate(entry, match.groupdict(b""), b""))


def _candidate(entry: Entry[R], values: tuple[bytes, ...], rest: bytes) -> Candidate[R]:
    return Candidate(entry, dict(zip(entry.path.names, values, strict=True)) if values else {}, rest)
