"""Rewriting of the path for the service, and back, and the endpoint's base path.

Rules of this file:

- Everything is compiled once; configuration errors raise `RewriteError` then.
- A result starts with exactly one '/', so it cannot be parsed as an authority (`//host`), and is canonical (see
  `http/target.py`). Prefixes are cut and joined at segment boundaries, where neither '//' nor a dot segment can arise.
  Templates and regular expressions can join pieces in any way, so their result is made canonical again; pieces that
  form a dot segment or an incomplete escape are refused (`TargetError`), never sent.
- A path that a strip, prefix or regular expression does not match is unchanged. The query is not part of the path.
- A final slash is neither added nor lost: of a path that is the whole prefix, `to` is left, or the endpoint's own path.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from propylon.http.target import KEEP_ALL, TargetError, after_segments, canonical_path, merge_slashes
from propylon.routing.foreign import foreign_path
from propylon.routing.pattern import canonical_text, escape_non_ascii
from propylon.routing.safe_regex import UnsafeRegex, compile_regex
from propylon.routing.template import Template, TemplateError, sampled
from propylon.routing.template_places import IN_PATH

if TYPE_CHECKING:
    from propylon.http.target import PathRules
    from propylon.routing.captures import Captures
    from propylon.routing.facts import Facts

_BACKSLASH = re.compile(r"\\(?:([1-9][0-9]?)|g<([A-Za-z_][A-Za-z0-9_]*)>)")


class RewriteError(ValueError):
    """An invalid rewrite; the message is a sentence for the operator."""


class Rewrite:
    """A compiled path rewrite; made by `strip`, `template`, `replace_prefix` or `replace_regex`."""

    __slots__ = ()

    @property
    def stripped(self) -> bytes:
        """The prefix that is cut off; b"" if the path is changed otherwise."""
        return b""

    def restore(self, path: bytes) -> bytes | None:
        """Return the path of the client for a path of the service; None if it cannot be known."""
        return None

    def apply(self, path: bytes, request: Facts) -> bytes:
        """Return the path for the service; b"" if nothing is left of it, so that an endpoint's own path is asked for.

        Parameters:
            path: the canonical path of the request.
            request: what a template reads.

        Raises:
            TargetError: pieces of the request form an invalid path. Prefixes never do.
        """
        raise NotImplementedError


class _ReplacePrefix(Rewrite):
    __slots__ = ("_prefix", "_slash", "_to")

    def __init__(self, prefix: bytes, to: bytes) -> None:
        self._prefix = prefix.removesuffix(b"/")
        self._slash = self._prefix + b"/"
        self._to = to.removesuffix(b"/")

    @property
    def stripped(self) -> bytes:
        return self._prefix if not self._to else b""

    def restore(self, path: bytes) -> bytes | None:
        """Put the prefix back, unless the service has done so."""
        if self._prefix and (path == self._prefix or path.startswith(self._slash)):
            return path
        if path == self._to or path.startswith(self._to + b"/"):
            return self._prefix + path[len(self._to) :]
        return None

    def apply(self, path: bytes, request: Facts) -> bytes:
        if path.startswith(self._slash):
            return self._to + path[len(self._prefix) :]
        return self._to if path == self._prefix else path


class _ReplacePrefixBeforeSlashes(_ReplacePrefix):
    """Replaces a prefix of paths whose `//` is kept; inside the prefix, too, `//` counts as `/`."""

    __slots__ = ()

    def apply(self, path: bytes, request: Facts) -> bytes:
        if b"//" not in path:
            return super().apply(path, request)
        tail = after_segments(path, self._prefix.count(b"/"))
        if merge_slashes(path[: len(path) - len(tail)]) != self._prefix:
            return path
        return self._to + tail if self._to or not tail else b"/" + tail.lstrip(b"/")


class _Filled(Rewrite):
    __slots__ = ("_rules", "_template")

    def __init__(self, template: Template, rules: PathRules) -> None:
        self._template = template
        self._rules = rules

    def apply(self, path: bytes, request: Facts) -> bytes:
        return canonical_path(self._template.fill(request), self._rules)


class _ReplaceRegex(Rewrite):
    __slots__ = ("_pieces", "_regex", "_rules")

    def __init__(self, regex: re.Pattern[bytes], pieces: list[bytes | int], rules: PathRules) -> None:
        self._regex = regex
        self._rules = rules
        self._pieces = tuple(pieces)  # bytes are literals, int are groups

    def apply(self, path: bytes, request: Facts) -> bytes:
        found = self._regex.fullmatch(path)
        if found is None:
            return path
        made = b"".join([piece if isinstance(piece, bytes) else found[piece] or b"" for piece in self._pieces])
        return canonical_path(made, self._rules)


def strip(prefix: str, rules: PathRules = KEEP_ALL) -> Rewrite:
    """Cut a prefix at a segment boundary: with `/users`, `/users/5` becomes `/5`, `/users/` `/`, and `/users` b""."""
    return _prefix_kind(rules)(_fixed_path("strip", prefix), b"/")


def replace_prefix(prefix: str, to: str, rules: PathRules = KEEP_ALL) -> Rewrite:
    """Replace a prefix by `to`, at segment boundaries."""
    return _prefix_kind(rules)(_fixed_path("rewrite prefix", prefix), _fixed_path("rewrite to", to))


def _prefix_kind(rules: PathRules) -> type[_ReplacePrefix]:
    return _ReplacePrefixBeforeSlashes if rules.double_slashes else _ReplacePrefix


def template(text: str, captures: Captures, rules: PathRules = KEEP_ALL) -> Rewrite:
    """Build a path from a template, as `/v2/{id}/{*}`.

    Parameters:
        captures: those of the route.
        rules: for the result.
    """
    compiled = path_template(f"rewrite {text!r}", text)
    if (problem := compiled.problem(captures)) is not None:
        raise RewriteError(f"rewrite {text!r}: {problem}")
    return _Filled(compiled, rules)


def path_template(what: str, text: str) -> Template:
    """Compile a template of a path; `what` names it in errors."""
    sample = sampled(text)
    if text.startswith("{request.path}"):
        sample = f"/{sample}"  # it begins with the '/'
    try:
        compiled = Template(text, IN_PATH)
    except TemplateError as error:
        raise RewriteError(f"{what}: {error}") from None
    if (problem := foreign_path(sample)) is not None:
        raise RewriteError(f"{what} {problem}")
    if not sample.startswith("/"):
        raise RewriteError(f"{what} must begin with '/'")
    _check_signs(what, sample)
    _check_path(what, sample)
    return compiled


def replace_regex(regex: str, to: str, rules: PathRules = KEEP_ALL) -> Rewrite:
    r"""Replace a path that a regular expression matches as a whole; `\1` and `\g<name>` in `to` are its groups."""
    try:
        compiled = compile_regex(regex)
    except UnsafeRegex as error:
        raise RewriteError(f"rewrite regex {regex!r}: {error}") from None
    if (problem := foreign_path(to)) is not None:
        raise RewriteError(f"rewrite to {to!r} {problem}")
    pieces: list[bytes | int] = []
    position = 0
    for found in _BACKSLASH.finditer(to):
        pieces += [_piece(to, to[position : found.start()]), _group(compiled, to, found)]
        position = found.end()
    pieces.append(_piece(to, to[position:]))
    if not to.startswith("/"):
        raise RewriteError(f"rewrite {to!r} must begin with '/'")
    _check_path(f"rewrite {to!r}", _BACKSLASH.sub("x", to))
    return _ReplaceRegex(compiled, pieces, rules)


def join(base: bytes, root: bytes, path: bytes) -> bytes:
    """Append a path to an endpoint's base path; `root` is the result if nothing is left of the path. `*` is kept."""
    return base + path if path[:1] == b"/" else path or root


def _fixed_path(what: str, text: str) -> bytes:
    if "{" in text or "*" in text:
        raise RewriteError(f"{what} {text!r}: parameters and '*' only work in a template: `rewrite: /v2/{{id}}/{{*}}`")
    try:
        return canonical_text(text)
    except TargetError as error:
        raise RewriteError(f"{what} {text!r}: {error.detail}") from None


def _piece(text: str, literal: str) -> bytes:
    _check_signs(f"rewrite {text!r}", literal)
    return escape_non_ascii(literal)


def _check_signs(what: str, literal: str) -> None:
    for sign in "{}\\":
        if sign in literal:
            raise RewriteError(f"{what}: '{sign}' stands alone; write '{{name}}', or '\\1' behind a regex")


def _check_path(what: str, sample: str) -> None:
    """Refuse what can never give a valid path."""
    try:
        canonical_text(sample)
    except TargetError as error:
        hint = "; to change the query, use query_edit" if "?" in sample else ""
        raise RewriteError(f"{what}: {error.detail}{hint}") from None


def _group(regex: re.Pattern[bytes], to: str, found: re.Match[str]) -> int:
    if found[2]:
        if found[2] not in regex.groupindex:
            raise RewriteError(f"rewrite to {to!r}: {_unknown(found[2], list(regex.groupindex))}")
        return regex.groupindex[found[2]]
    if int(found[1]) > regex.groups:
        raise RewriteError(f"rewrite to {to!r}: '\\{found[1]}' is no group; the regex has {regex.groups}")
    return int(found[1])


def _unknown(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, 1)
    if close:
        return f"unknown parameter {name!r}, did you mean {close[0]!r}?"
    return f"unknown parameter {name!r}; " + (f"there are {', '.join(sorted(known))}" if known else "there are none")
