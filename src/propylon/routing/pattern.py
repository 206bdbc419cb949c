"""Host and path patterns: the syntax of a route's `host:` and `path:`, and their specificity.

Rules of this file:

- Hosts: `api.example.com`, `*.example.com` (one or more leading labels), `*` (any), each with or without `:port`.
  Case-insensitive, in the canonical form of `http/host.py`. A pattern without a port matches every port.
- Paths: `/x` (exact), `/a/*` (`/a` and all below it), `/users/{id}` (one non-empty segment), and combinations.
  Case-sensitive, in the canonical form of `http/target.py`; `/a` and `/a/` are different paths, since services may
  distinguish them.
- A rank is a tuple; the smaller one is the more specific. Hosts: exact, then the longer wildcard, then any; in each
  group, with a port before without. Paths, at the first segment from the left that differs: the end of the path
  before a literal segment before a parameter before a regular expression before `*`.
"""

from __future__ import annotations

import re

from propylon.http.host import HostError, parse_host
from propylon.http.target import KEEP_ALL, TargetError, canonical_path
from propylon.routing.foreign import foreign_pattern
from propylon.routing.safe_regex import UnsafeRegex, compile_regex

EXACT, WILDCARD, ANY = 0, 1, 2
_LITERAL, _PARAMETER, _REGEX, _REST = 0, 1, 2, 3
_MAX_SEGMENTS = 64
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class RuleError(ValueError):
    """An invalid rule; the message is a sentence for the operator."""


class HostPattern:
    """One compiled host pattern.

    Attributes:
        text: as written.
        kind: EXACT, WILDCARD or ANY.
        name: the name; for a wildcard the suffix with its leading dot; b"" for any.
        port: the only port that matches; None for every port.
        rank: smaller is more specific.
    """

    __slots__ = ("kind", "name", "port", "rank", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.kind, name = EXACT, text
        if text == "*" or text.startswith("*:"):
            self.kind, name = ANY, "any" + text[1:]
        elif text.startswith("*."):
            self.kind, name = WILDCARD, text[2:]
        if "*" in name:
            raise RuleError(f"host {text!r}: '*' may only stand for the first labels, as in '*.example.com'")
        try:
            host = parse_host(name.encode("utf-8"))
        except HostError as error:
            raise RuleError(f"host {text!r}: {error.detail}") from None
        self.name = (host.name, b"." + host.name, b"")[self.kind]
        self.port = host.port
        self.rank = (self.kind, -self.name.count(b".") if self.kind == WILDCARD else 0, 0 if host.port else 1)

    def matches(self, host: bytes, port: bytes | None) -> bool:
        """Return whether a canonical host matches. For `explain`; the router looks hosts up in tables."""
        if self.port is not None and self.port != port:
            return False
        if self.kind == WILDCARD:
            return len(host) > len(self.name) and host.endswith(self.name)
        return self.kind == ANY or host == self.name


class PathPattern:
    """One compiled path pattern.

    Attributes:
        text: as written.
        segments: canonical segments without the final `*`; None is a parameter.
        names: the parameters' names, from left to right.
        rest: whether it ends in `*`.
        regex: the whole pattern if it is a regular expression, else None.
        rank: smaller is more specific.
    """

    __slots__ = ("names", "rank", "regex", "rest", "segments", "text")

    def __init__(self, text: str, regex: re.Pattern[bytes] | None = None) -> None:
        self.text = text
        self.regex = regex
        self.segments: tuple[bytes | None, ...] = ()
        self.names: tuple[str, ...] = tuple(regex.groupindex) if regex else ()
        self.rest = False
        self.rank: tuple[int, ...] = (_REGEX,)
        if regex is None:
            self._parse(text)

    def _parse(self, text: str) -> None:
        if (problem := foreign_pattern(text)) is not None:
            raise RuleError(f"path {text!r} {problem}")
        if not text.startswith("/"):
            raise RuleError(f"path {text!r} must begin with '/'")
        parts = text[1:].split("/")
        if parts[-1] == "*":
            self.rest = True
            parts.pop()
        if len(parts) > _MAX_SEGMENTS:
            raise RuleError(f"path {text[:60]!r}... has more than {_MAX_SEGMENTS} segments")
        names: list[str] = []
        segments: list[bytes | None] = []
        for position, part in enumerate(parts, 1):
            if part.startswith("{") and part.endswith("}"):
                names.append(_parameter(text, part[1:-1], names))
                segments.append(None)
            else:
                segments.append(_literal(text, part, last=position == len(parts) and not self.rest))
        self.names, self.segments = tuple(names), tuple(segments)
        kinds = [_PARAMETER if segment is None else _LITERAL for segment in segments]
        self.rank = (*kinds, _REST) if self.rest else tuple(kinds)

    def matches(self, path: bytes) -> bool:
        """Return whether a canonical path matches. For checks; the router looks paths up in trees."""
        if self.regex is not None:
            return self.regex.fullmatch(path) is not None
        segments = path[1:].split(b"/")
        if len(segments) < len(self.segments) or (not self.rest and len(segments) > len(self.segments)):
            return False
        pairs = zip(self.segments, segments, strict=False)
        return all(segment != b"" if own is None else segment == own for own, segment in pairs)


def regex_path(pattern: str) -> PathPattern:
    """Compile a route's `path_regex`; it matches the whole canonical path. Raises `RuleError`."""
    try:
        return PathPattern(pattern, compile_regex(pattern))
    except UnsafeRegex as error:
        raise RuleError(f"path_regex {pattern!r}: {error}") from None


def _parameter(text: str, name: str, earlier: list[str]) -> str:
    if not _NAME.fullmatch(name):
        raise RuleError(f"path {text!r}: {name!r} is no parameter name; write letters, digits and '_'")
    if name in earlier:
        raise RuleError(f"path {text!r} has two parameters '{{{name}}}'; give them different names")
    return name


def _literal(text: str, part: str, last: bool) -> bytes:
    if "*" in part:
        raise RuleError(f"path {text!r}: '*' must be the whole last segment, as in '/a/*'; or write a path_regex")
    if "{" in part or "}" in part:
        raise RuleError(f"path {text!r}: a parameter must be a whole segment, as '/a/{{id}}'; or write a path_regex")
    if not part and not last:
        raise RuleError(f"path {text!r} has an empty segment; in requests '//' is made '/' before routes are looked at")
    try:
        return canonical_text("/" + part)[1:]
    except TargetError as error:
        raise RuleError(f"path {text!r}: {error.detail}") from None


def canonical_text(path: str) -> bytes:
    """Return the canonical form of a path of the configuration. Raises `TargetError`."""
    return canonical_path(escape_non_ascii(path), KEEP_ALL)


def escape_non_ascii(text: str) -> bytes:
    """Percent-encode only what is not ASCII, as UTF-8 (RFC 3987 3.1)."""
    if text.isascii():
        return text.encode("ascii")
    return b"".join(b"%c" % byte if byte < 0x80 else b"%%%02X" % byte for byte in text.encode("utf-8", "replace"))
