"""The router: finds the route of a request.

Precedence of rules that match; each criterion decides between rules that are equal by the earlier ones:

1. the higher `priority`;
2. the more specific host: exact, then the longer `*.example.com`, then any; with a port before without;
3. the more specific path: from left to right, at the first segment that differs, the end of the path before a literal
   before a parameter before `path_regex` before `*`. So `/a/b` beats `/a/{x}` beats `/a/*` beats a `path_regex`, which
   beats `/*`;
4. more conditions (methods count as one, each header, each query parameter, and one each of the clients, the scheme and
   the listeners);
5. the position in the list.

If a rule fails by one of its conditions, the next one is tried. If none matches, and some failed by their method only,
the response is 405 with the methods that match; otherwise 404.

A path with `//`, which only some path rules keep, matches as if it had `/`: no condition on a path is evaded by it.

Rules of this file: the cost does not depend on the number of rules: hosts are looked up in tables, paths walked segment
by segment, and results cached for a few thousand (host, port, path). Only regular expressions are tried one by one, on
paths that are not cached. No recursion, no loop longer than the longest pattern.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from propylon.http.memo import Memo
from propylon.http.target import merge_slashes
from propylon.routing.match import CompiledRule, Matchable, Regex, Rule, captures
from propylon.routing.pattern import ANY, EXACT, HostPattern, RuleError
from propylon.routing.tree import Candidate, Entry, RouteMatch, Table

__all__ = [
    "Matchable",
    "NotFound",
    "Regex",
    "RouteMatch",
    "Router",
    "Rule",
    "RuleError",
    "Verdict",
    "WrongMethod",
    "captures",
]  # fmt: skip

R = TypeVar("R")

Key = tuple[bytes, bytes | None, bytes]
_RANK_WORDS = (
    "a higher priority", "a more specific host", "a more specific path", "more conditions", "an earlier place",
)  # fmt: skip


class NotFound:
    """No rule matches: 404."""

    __slots__ = ()


class WrongMethod:
    """Some rules match except for the method: 405.

    Attributes:
        allow: the methods that would match, sorted, for the `Allow` field (RFC 9110 10.2.1).
    """

    __slots__ = ("allow",)

    def __init__(self, allow: tuple[bytes, ...]) -> None:
        self.allow = allow


class Verdict(Generic[R]):
    """The result of one rule in `explain`.

    Attributes:
        rule: the rule, as written.
        won: whether it is the route of the request.
        reason: why, in words.
    """

    __slots__ = ("reason", "rule", "won")

    def __init__(self, rule: Rule[R], won: bool, reason: str) -> None:
        self.rule = rule
        self.won = won
        self.reason = reason


class Tables(Generic[R]):
    """The rules by host and path.

    Separate from the router, since its memo refers to them: so a dropped router is freed without a reference cycle.
    """

    __slots__ = ("_any", "_exact", "_wildcards")

    def __init__(self, entries: list[Entry[R]]) -> None:
        self._exact: dict[tuple[bytes, bytes | None], Table[R]] = {}
        self._wildcards: dict[tuple[bytes, bytes | None], Table[R]] = {}
        self._any: dict[bytes | None, Table[R]] = {}
        for number, entry in enumerate(entries):
            entry.number = number
            self._table(entry.host).add(entry)

    def _table(self, host: HostPattern) -> Table[R]:
        if host.kind == ANY:
            return self._any.setdefault(host.port, Table())
        tables = self._exact if host.kind == EXACT else self._wildcards
        return tables.setdefault((host.name, host.port), Table())

    def look_up(self, key: Key) -> RouteMatch[R] | NotFound | tuple[Candidate[R], ...]:
        """Return the route if it depends on no condition, or else all candidates."""
        candidates = self.candidates(key)
        if not candidates:
            return _NOT_FOUND
        if candidates[0].unconditional and candidates[0].methods is None:
            return candidates[0].match
        return candidates

    def candidates(self, key: Key) -> tuple[Candidate[R], ...]:
        """Return the candidates by host and path, the most specific first, each rule once."""
        host, port, path = key
        found: list[Candidate[R]] = []
        if path[:1] == b"/":
            merged = merge_slashes(path) if b"//" in path else path
            for table in self._of_host(host.lower(), port):
                table.collect(merged, found)
            if merged is not path:
                for candidate in found:
                    candidate.keep_slashes(path)
        if len(found) < 2:
            return tuple(found)
        found.sort(key=lambda candidate: candidate.entry.number)
        best: dict[CompiledRule[R], Candidate[R]] = {}
        for candidate in found:
            best.setdefault(candidate.compiled, candidate)
        return tuple(best.values())

    def _of_host(self, host: bytes, port: bytes | None) -> list[Table[R]]:
        """Return the tables of every host pattern that matches."""
        found: list[Table[R]] = []
        for each in (None,) if port is None else (port, None):
            if self._exact and (table := self._exact.get((host, each))) is not None:
                found.append(table)
            if (table := self._any.get(each)) is not None:
                found.append(table)
            dot = host.find(b".", 1) if self._wildcards else -1
            while dot > 0:
                if (table := self._wildcards.get((host[dot:], each))) is not None:
                    found.append(table)
                dot = host.find(b".", dot + 1)
        return found


class Router(Generic[R]):
    """Finds the route of a request. Raises `RuleError` for an invalid rule."""

    def __init__(self, rules: list[Rule[R]]) -> None:
        entries = [
            Entry(compiled, host, path, position)
            for position, compiled in enumerate(CompiledRule(rule) for rule in rules)
            for host in compiled.hosts
            for path in compiled.paths
        ]
        entries.sort(key=lambda entry: entry.rank)
        self._entries = entries
        self._tables = Tables(entries)
        self._memo: Memo[Key, RouteMatch[R] | NotFound | tuple[Candidate[R], ...]] = Memo(
            self._tables.look_up, _path_bytes
        )

    def find(
        self, host: bytes, port: bytes | None, path: bytes, method: bytes, request: Matchable
    ) -> RouteMatch[R] | NotFound | WrongMethod:
        """Find the route.

        Parameters:
            host: canonical name, port: canonical port or None (see `parse_host`).
            path: canonical path (see `parse_target`).
            method: as received.
            request: read only by the conditions of rules.
        """
        known = self._memo[(host, port, path)]
        if not isinstance(known, tuple):
            return known
        for candidate in known:
            methods = candidate.methods
            if (methods is None or method in methods) and (
                candidate.unconditional or candidate.compiled.failed_check(request) is None
            ):
                return candidate.match
        return self._no_match(known, method, request)

    def table(self) -> list[Rule[R]]:
        """Return the rules in order of precedence; one with several hosts or paths by its most specific."""
        return [compiled.rule for compiled in dict.fromkeys(entry.compiled for entry in self._entries)]

    def explain(
        self, host: bytes, port: bytes | None, path: bytes, method: bytes, request: Matchable
    ) -> list[Verdict[R]]:
        """Return the verdict on every rule: first those that match by host and path, in order, then the others."""
        verdicts: list[Verdict[R]] = []
        winner: Candidate[R] | None = None
        candidates = self._tables.candidates((host, port, path))
        for candidate in candidates:
            compiled = candidate.compiled
            reason = _failed_condition(compiled, method, request)
            won = not reason and winner is None
            if won:
                winner = candidate
                entry = candidate.entry
                reason = f"host '{entry.host.text}' and path '{entry.path.text}' match, and every condition holds"
            elif not reason and winner is not None:
                reason = f"would match too, but the route that won has {_deciding_rank(winner.entry, candidate.entry)}"
            verdicts.append(Verdict(compiled.rule, won, reason))
        considered = {candidate.compiled for candidate in candidates}
        others = dict.fromkeys(entry.compiled for entry in self._entries if entry.compiled not in considered)
        verdicts += [Verdict(other.rule, False, _mismatch(other, host, port, path)) for other in others]
        return verdicts

    def _no_match(
        self, candidates: tuple[Candidate[R], ...], method: bytes, request: Matchable
    ) -> NotFound | WrongMethod:
        allow: set[bytes] = set()
        for candidate in candidates:
            methods = candidate.methods
            if methods is not None and method not in methods and candidate.compiled.failed_check(request) is None:
                allow |= methods
        return WrongMethod(tuple(sorted(allow))) if allow else _NOT_FOUND


_NOT_FOUND = NotFound()


def _path_bytes(key: Key) -> int:
    return len(key[2])


def _failed_condition(compiled: CompiledRule[R], method: bytes, request: Matchable) -> str:
    """Describe the condition that fails; "" if all hold. Values are not shown: they may be secrets."""
    if compiled.methods is not None and method not in compiled.methods:
        allowed = ", ".join(sorted(name.decode("ascii") for name in compiled.methods))
        return f"method {method.decode('latin-1')} is not one of {allowed}"
    failed = compiled.failed_check(request)
    return failed.failed if failed else ""


def _mismatch(compiled: CompiledRule[R], host: bytes, port: bytes | None, path: bytes) -> str:
    if not any(pattern.matches(host.lower(), port) for pattern in compiled.hosts):
        requested = host.decode("latin-1") + (f":{port.decode('latin-1')}" if port else "") or "(none)"
        return f"host {requested} does not match {_listed([pattern.text for pattern in compiled.hosts])}"
    return f"path {path.decode('latin-1')} does not match {_listed([pattern.text for pattern in compiled.paths])}"


def _deciding_rank(winner: Entry[R], loser: Entry[R]) -> str:
    for words, mine, other in zip(_RANK_WORDS, winner.rank, loser.rank, strict=False):
        if mine != other:
            return words
    return _RANK_WORDS[-1]


def _listed(texts: list[str]) -> str:
    return " or ".join(f"'{text}'" for text in texts)
