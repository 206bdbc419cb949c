"""The request target: its forms, and the canonical form of its path (RFC 9112 3.2, RFC 3986 3.3 and 6.2.2).

Rules of this file:

- Routes, limits, cache keys, logs and services see the same bytes, so what implementations interpret differently is
  refused: dot segments in any spelling, `%2F`, `%5C`, a backslash, control characters, invalid escapes, escapes that
  are not UTF-8, a `;` (where some servers cut a segment), a fragment.
- Equivalent spellings are normalised: escapes of unreserved characters are decoded, other escapes have upper-case
  digits, characters that RFC 3986 does not allow in a path are escaped, `//` becomes `/`.
- `PathRules` let through what is legal but ambiguous. Whatever they say, a path begins with one '/', and overlong UTF-8
  is refused, which lenient decoders read as '.' or '/'.
- `%25` is never decoded, so canonicalisation is idempotent.
- The query is kept byte for byte; only raw UTF-8, if it is accepted, is escaped. The scheme of an absolute-form target
  has no influence on routing.
"""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PLAIN = bytes(sorted(_UNRESERVED)) + b"/!$&'()*+,=:@"  # bytes that a canonical path has unescaped
_VISIBLE = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("#"))
_KEPT_WITH_SEMICOLON = _VISIBLE.translate(None, b"?\\")
_KEPT = _KEPT_WITH_SEMICOLON.translate(None, b";")

_SEGMENT = rb"[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*+"  # no escapes, no leading dot
SIMPLE = re.compile(rb"((?:/%b)++/?|/)(?:\?([!-\x22$-~]*+))?" % _SEGMENT)
"""Most targets: the groups are path and query, whatever the `PathRules`; `parse_target` returns the same."""

_ESCAPE = re.compile(rb'%(?:[0-9A-Fa-f]{2})?|["<>^`{|}]')
_NON_ASCII_RUN = re.compile(rb"(?:%[89A-F][0-9A-F])+")
_SLASHES = re.compile(rb"//+")
_RAW = re.compile(rb"[\x80-\xff]")
_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]")
_ODD = re.compile(rb"//|;|%2[Ff]|%[89A-Fa-f]|[\x80-\xff]")
_ABSOLUTE = re.compile(rb"([Hh][Tt][Tt][Pp][Ss]?)://([^/?]+)([^?]*)(\??)(.*)")


class TargetError(ValueError):
    """An invalid request target.

    Attributes:
        code: always `read.bad_target`.
        detail: the cause, its position and the rule; safe to show to the client.
    """

    def __init__(self, detail: str, setting: str = "") -> None:
        """`setting`: what accepts such a target, if anything does."""
        if setting:
            detail += f"; {setting!r} below 'paths', or below a route's 'path_rules', lets it through"
        super().__init__(detail)
        self.code = "read.bad_target"
        self.detail = detail


@dataclass(frozen=True, slots=True)
class PathRules:
    """Which ambiguous spellings are accepted (True) instead of refused (False).

    Attributes:
        encoded_slashes: `%2F`, kept.
        semicolons: `;`, kept.
        double_slashes: `//` inside the path, kept instead of merged. Routes are found as if it were merged.
        invalid_utf8: escapes that are not UTF-8, kept.
        raw_utf8: UTF-8 that is not escaped, in path or query; it gets escaped.
    """

    encoded_slashes: bool = False
    semicolons: bool = False
    double_slashes: bool = False
    invalid_utf8: bool = False
    raw_utf8: bool = False

    def __or__(self, other: PathRules) -> PathRules:
        """Return the rules that accept what either of them does."""
        return PathRules(*(mine or its for mine, its in zip(astuple(self), astuple(other), strict=True)))


KEEP_ALL = PathRules(encoded_slashes=True, semicolons=True, invalid_utf8=True)
"""For paths that have passed the listener's rules, and for paths of the configuration."""
KEEP_SLASHES = KEEP_ALL | PathRules(double_slashes=True)
"""The same for paths whose `//` is kept."""


class Target:
    """A request target, parsed into canonical parts.

    Attributes:
        path: the canonical path; it starts with one '/', or is `*` (OPTIONS only).
        query: the bytes after the first '?', unchanged; None if there is no '?'.
        authority: host and port of an absolute-form target, not yet checked (see `parse_host`); else None.
        scheme: `http` or `https` of an absolute-form target; else None.
    """

    __slots__ = ("authority", "path", "query", "scheme")

    def __init__(self, path: bytes, query: bytes | None, authority: bytes | None, scheme: bytes | None) -> None:
        self.path = path
        self.query = query
        self.authority = authority
        self.scheme = scheme

    def __repr__(self) -> str:
        return f"Target({self.path!r}, {self.query!r}, {self.authority!r}, {self.scheme!r})"


def parse_target(method: bytes, raw: bytes, rules: PathRules) -> Target:
    """Parse the target of a request line. Raises `TargetError`.

    Parameters:
        method: `*` is allowed for OPTIONS only (RFC 9112 3.2.4).
        raw: the target as received. CONNECT is refused before this is called.
        rules: which ambiguous spellings are accepted.
    """
    if raw.translate(None, _VISIBLE):
        raw = _visible(raw, rules)
    if raw[:1] == b"/":
        path, mark, query = raw.partition(b"?")
        return Target(canonical_path(path, rules), query if mark else None, None, None)
    if raw == b"*":
        if method != b"OPTIONS":
            raise TargetError("the target '*' is only for OPTIONS (RFC 9112 3.2.4)")
        return Target(raw, None, None, None)
    return _parse_absolute(method, raw, rules)


def canonical_path(path: bytes, rules: PathRules) -> bytes:
    """Return the canonical form of a path that starts with '/'. Raises `TargetError`."""
    if path[:1] != b"/":
        raise TargetError("the path does not begin with '/' (RFC 9112 3.2.1)")
    if not path.translate(None, _PLAIN) and b"//" not in path and b"/." not in path:
        return path
    return _canonicalise(path, rules)


def _parse_absolute(method: bytes, raw: bytes, rules: PathRules) -> Target:
    """Parse the absolute form, `http://host:port/path?query` (RFC 9112 3.2.2)."""
    found = _ABSOLUTE.fullmatch(raw)
    if found is None:
        raise TargetError("the target is neither a path that begins with '/' nor an http(s) URI (RFC 9112 3.2)")
    scheme, authority, path, mark, query = found.groups()
    if not path and not mark and method == b"OPTIONS":
        return Target(b"*", None, authority, scheme.lower())
    return Target(canonical_path(path or b"/", rules), query if mark else None, authority, scheme.lower())


def _canonicalise(path: bytes, rules: PathRules) -> bytes:
    refused = path.translate(None, _KEPT_WITH_SEMICOLON if rules.semicolons else _KEPT)
    if refused:
        raise _bad_byte(path, path.index(refused[:1]))
    escapes = _ESCAPES_WITH_SLASH if rules.encoded_slashes else _ESCAPES
    try:
        canonical = _ESCAPE.sub(lambda found: escapes[found.group()], path)
    except KeyError as unknown:
        raise _bad_escape(path, unknown.args[0]) from None
    if b"%" in canonical:
        for run in _NON_ASCII_RUN.finditer(canonical):
            _check_utf8(run.group(), rules)
    if b"//" in canonical:
        canonical = b"/" + canonical.lstrip(b"/") if rules.double_slashes else merge_slashes(canonical)
    _check_dots(canonical)
    return canonical


def _check_dots(path: bytes) -> None:
    """Refuse dot segments, also those that appear only when a server decodes `%2F` or cuts segments at ';'."""
    cut = path.replace(b"%2F", b"/").replace(b"%3B", b";") + b"/"
    for dots in (b"/./", b"/../", b"/.;", b"/..;"):
        where = cut.find(dots)
        if where >= 0:
            segment = cut.count(b"/", 0, where + 1)
            raise TargetError(f"the path has a dot segment at segment {segment}; resolve it first (RFC 3986 5.2.4)")


def _check_utf8(run: bytes, rules: PathRules) -> None:
    """Refuse escapes of invalid or overlong UTF-8, which decoders interpret differently (RFC 3629 3)."""
    data = bytes.fromhex(run.replace(b"%", b"").decode("ascii"))
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        shown = f"the path's escapes {run[:24].decode('ascii')}"
        if _OVERLONG.search(data):
            raise TargetError(f"{shown} are overlong UTF-8 (RFC 3629 3)") from None
        if not rules.invalid_utf8:
            raise TargetError(f"{shown} are not UTF-8 (RFC 3629 3)", "invalid_utf8") from None


def _visible(raw: bytes, rules: PathRules) -> bytes:
    """Return a target with its raw UTF-8 escaped, if that is accepted (RFC 3987 3.1)."""
    if rules.raw_utf8:
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise TargetError(f"the target has bytes at {error.start} that are not UTF-8 (RFC 3629 3)") from None
        raw = _RAW.sub(lambda found: b"%%%02X" % found.group()[0], raw)
    odd = raw.translate(None, _VISIBLE)
    if odd:
        raise _bad_byte(raw, raw.index(odd[:1]))
    return raw


def _bad_byte(raw: bytes, index: int) -> TargetError:
    """Describe why the byte at `index` is not allowed in a target."""
    match raw[index : index + 1]:
        case b"\\":
            return TargetError(f"the path has a backslash at byte {index}: some servers read it as '/'")
        case b";":
            return TargetError(f"the path has a ';' at byte {index}: some servers cut the segment there", "semicolons")
        case b"#":
            return TargetError(f"the target has a fragment at byte {index}; fragments are never sent (RFC 9110 4.2.5)")
        case byte:
            return TargetError(
                f"the target has the byte 0x{byte[0]:02X} at byte {index}, unencoded (RFC 3986 2)",
                "raw_utf8" if byte > b"\x7f" else "",
            )


def _bad_escape(path: bytes, escape: bytes) -> TargetError:
    where = next(found.start() for found in _ESCAPE.finditer(path) if found.group() == escape)
    if escape == b"%":
        return TargetError(f"the path has a '%' at byte {where} without two hexadecimal digits (RFC 3986 2.1)")
    if escape.upper() == b"%2F":
        return TargetError(
            f"the path has an encoded slash at byte {where}: some servers read it as '/'", "encoded_slashes"
        )
    if escape.upper() == b"%5C":
        return TargetError(f"the path has an encoded backslash at byte {where}: some servers read it as '/'")
    return TargetError(f"the path has an encoded control character at byte {where}")


def merge_slashes(path: bytes) -> bytes:
    """Return a path with every `//` made `/`."""
    return _SLASHES.sub(b"/", path)


def after_segments(path: bytes, count: int) -> bytes:
    """Return what follows the first `count` segments that are not empty, with its slashes."""
    position = 0
    for _ in range(count):
        while path[position : position + 1] == b"/":
            position += 1
        position = path.find(b"/", position)
        if position < 0:
            return b""
    return path[position:]


def may_be_odd(raw: bytes) -> bool:
    """Return whether the result for a target may depend on `PathRules`."""
    return _ODD.search(raw) is not None


def _escape_table(encoded_slashes: bool) -> dict[bytes, bytes]:
    """Return the map of every accepted escape, and every character that must be escaped, to its canonical form."""
    table = {b"%c" % byte: b"%%%02X" % byte for byte in b'"<>^`{|}'}
    for byte in range(0x20, 0x100):
        if byte in (0x5C, 0x7F) or (byte == 0x2F and not encoded_slashes):
            continue
        upper = b"%%%02X" % byte
        canonical = bytes((byte,)) if byte in _UNRESERVED else upper
        for first in {upper[1:2], upper[1:2].lower()}:
            for second in {upper[2:3], upper[2:3].lower()}:
                table[b"%" + first + second] = canonical
    return table


_ESCAPES = _escape_table(encoded_slashes=False)
_ESCAPES_WITH_SLASH = _escape_table(encoded_slashes=True)
