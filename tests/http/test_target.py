"""The canonical path: what is made the same, what is refused (RFC 9112 3.2, RFC 3986; security cases 20, 21, 27)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from propylon.http.target import KEEP_ALL, SIMPLE, PathRules, TargetError, after_segments, canonical_path, parse_target

STRICT = PathRules()

SAME = [
    ("plain", b"/users/5", b"/users/5"),
    ("root", b"/", b"/"),
    ("unreserved escapes are decoded (3986 6.2.2.2)", b"/%7euser/%41%2d%2E%5F", b"/~user/A-._"),
    ("other escapes get capital digits (3986 6.2.2.1)", b"/caf%c3%a9/a%20b", b"/caf%C3%A9/a%20b"),
    ("escapes of sub-delimiters stay", b"/a%2cb,c%21!", b"/a%2Cb,c%21!"),
    ("percent is never decoded (27)", b"/%2541/%252e%252e/%252f", b"/%2541/%252e%252e/%252f"),
    ("slashes are merged (27)", b"//a///b//", b"/a/b/"),
    ("an authority in a path is a path", b"//127.0.0.1:23001/echo", b"/127.0.0.1:23001/echo"),
    ("three dots are a name", b"/a/.../b", b"/a/.../b"),
    ("hidden files are names", b"/.well-known/x", b"/.well-known/x"),
    ("a dot inside a segment", b"/a./b..c/..d", b"/a./b..c/..d"),
    ("characters that RFC 3986 keeps out are escaped", b'/{a}|b^`<c>"', b"/%7Ba%7D%7Cb%5E%60%3Cc%3E%22"),
    ("case of the path stays (28)", b"/Users/ABC", b"/Users/ABC"),
    ("an escaped semicolon stays", b"/a%3bb", b"/a%3Bb"),
]

REFUSED = [
    ("dot segment", b"/a/./b"),
    ("dot segments (27)", b"/a/../b"),
    ("dot segment at the end", b"/a/.."),
    ("single dot at the end", b"/."),
    ("encoded dots (27)", b"/%2e%2e/b"),
    ("half encoded dots", b"/.%2E/b"),
    ("dots with a path parameter (27)", b"/a/..;x=y/b"),
    ("dots with an encoded semicolon", b"/a/..%3Bx/b"),
    ("dots behind merged slashes", b"//../b"),
    ("encoded slash (27)", b"/a%2fb"),
    ("encoded backslash (27)", b"/a%5Cb"),
    ("backslash (27)", b"/a\\b"),
    ("NUL (27)", b"/a%00b"),
    ("encoded line feed", b"/a%0Ab"),
    ("encoded DEL", b"/a%7f"),
    ("path parameter (27)", b"/a;x=1/b"),
    ("escape without digits (3986 2.1)", b"/a%zz"),
    ("escape cut short", b"/a%4"),
    ("lonely percent", b"/100%"),
    ("overlong UTF-8 (27, 3629 3)", b"/%c0%ae%c0%ae/"),
    ("invalid UTF-8", b"/%ff"),
    ("half a UTF-8 sequence", b"/%c3/x"),
    ("surrogate", b"/%ed%a0%80"),
    ("fragment (27)", b"/a#b"),
    ("fragment in the query", b"/a?b#c"),
    ("space", b"/a b"),
    ("tab", b"/a\tb"),
    ("non-ASCII", "/ä".encode()),
    ("non-ASCII query", "/a?ä".encode()),
    ("DEL", b"/\x7f"),
    ("empty", b""),
    ("no slash", b"users"),
    ("authority-form (21)", b"example.com:443"),
    ("another scheme (20)", b"ftp://example.com/"),
    ("file scheme (20)", b"file:///etc/passwd"),
    ("no authority (20)", b"http:///x"),
    ("scheme only", b"http:"),
    ("dots in absolute-form", b"http://h/../x"),
    ("star with a query (21)", b"*?x"),
]


@pytest.mark.parametrize(("raw", "path"), [case[1:] for case in SAME], ids=[case[0] for case in SAME])
def test_paths_that_are_only_spelled_differently_become_the_same(raw: bytes, path: bytes) -> None:
    assert parse_target(b"GET", raw, STRICT).path == path
    assert canonical_path(path, STRICT) == path


@pytest.mark.parametrize("raw", [case[1] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_ambiguous_targets_are_refused_with_a_reason(raw: bytes) -> None:
    with pytest.raises(TargetError) as caught:
        parse_target(b"GET", raw, STRICT)
    assert caught.value.code == "read.bad_target"
    assert caught.value.detail.isprintable()
    assert "RFC" in caught.value.detail or "servers" in caught.value.detail or "control" in caught.value.detail


def test_kept_slashes_stay_encoded_and_still_hide_no_dot_segment() -> None:
    keep = PathRules(encoded_slashes=True)
    assert canonical_path(b"/a%2fb", keep) == b"/a%2Fb"
    for raw in (b"/a%2f..%2fb", b"/..%2Fb", b"/a%2F%2e%2E", b"/a%5cb"):
        with pytest.raises(TargetError):
            canonical_path(raw, keep)


def test_kept_semicolons_stay_and_still_hide_no_dot_segment() -> None:
    keep = PathRules(semicolons=True)
    assert canonical_path(b"/a;v=1/b", keep) == b"/a;v=1/b"
    for raw in (b"/..;/b", b"/a/.;x"):
        with pytest.raises(TargetError):
            canonical_path(raw, keep)


@pytest.mark.parametrize(
    ("raw", "query"),
    [(b"/a", None), (b"/a?", b""), (b"/a?x=%zz&&y=/../;\\?z", b"x=%zz&&y=/../;\\?z"), (b"//a?x//y", b"x//y")],
    ids=["none", "empty", "second '?' and odd bytes (27)", "query slashes are kept"],
)
def test_query_is_byte_exact(raw: bytes, query: bytes | None) -> None:
    assert parse_target(b"GET", raw, STRICT).query == query


@pytest.mark.parametrize(
    ("raw", "path", "query", "authority", "scheme"),
    [
        (b"http://api.example.com:81/a?b", b"/a", b"b", b"api.example.com:81", b"http"),
        (b"HTTPS://H", b"/", None, b"H", b"https"),
        (b"http://h?x", b"/", b"x", b"h", b"http"),
        (b"http://user@h//%41", b"/A", None, b"user@h", b"http"),
    ],
)
def test_absolute_form_is_split(raw: bytes, path: bytes, query: bytes | None, authority: bytes, scheme: bytes) -> None:
    target = parse_target(b"GET", raw, STRICT)
    assert (target.path, target.query, target.authority, target.scheme) == (path, query, authority, scheme)


def test_star_is_for_options_only() -> None:
    assert parse_target(b"OPTIONS", b"*", STRICT).path == b"*"
    assert parse_target(b"OPTIONS", b"http://h", STRICT).path == b"*"  # RFC 9112 3.2.4
    assert parse_target(b"OPTIONS", b"http://h/", STRICT).path == b"/"
    with pytest.raises(TargetError):
        parse_target(b"GET", b"*", STRICT)


_PIECES = st.sampled_from(
    [b"/", b"//", b".", b"..", b"%2e", b"%2F", b"%2f", b"%5c", b";", b"%3b", b"%", b"%25", b"%2", b"5", b"a", b"%41",
     b"%c3%a9", b"%c3", b"%A9", b"{", b"|", b"\\", b"~", b"%7e", b"\x00", b" ", b"#", b"?", b"F", b"%00", b"!"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=12).map(lambda pieces: b"/" + b"".join(pieces)), st.booleans(), st.booleans())
@example(b"/%25%32%65", True, True)
def test_canonicalising_twice_changes_nothing_and_leaves_nothing_ambiguous(raw: bytes, slash: bool, semi: bool) -> None:
    rules = PathRules(slash, semi)
    try:
        path = canonical_path(raw, rules)
    except TargetError:
        return
    assert canonical_path(path, rules) == path
    assert canonical_path(path, KEEP_ALL) == path
    assert path.startswith(b"/")
    assert b"//" not in path
    assert not {b".", b".."} & set(path.replace(b"%2F", b"/").split(b"/"))


@given(st.binary(max_size=40))
def test_any_bytes_give_a_target_or_a_target_error(raw: bytes) -> None:
    for candidate in (raw, b"/" + raw, b"http://h/" + raw):
        try:
            target = parse_target(b"GET", candidate, STRICT)
        except TargetError:
            continue
        assert target.path.isascii()
        assert target.path[:1] == b"/"


LATIN = PathRules(invalid_utf8=True)
SLASHES = PathRules(double_slashes=True)
RAW = PathRules(raw_utf8=True)


@pytest.mark.parametrize(
    ("rules", "raw", "path", "query"),
    [
        (LATIN, b"/caf%E9", b"/caf%E9", None),
        (LATIN, b"/caf%e9/%C3%A9", b"/caf%E9/%C3%A9", None),
        (LATIN, b"/%C0la", b"/%C0la", None),
        (SLASHES, b"/img/https://h/x//y", b"/img/https://h/x//y", None),
        (SLASHES, b"///a//b", b"/a//b", None),
        (SLASHES, b"/a//", b"/a//", None),
        (SLASHES, b"http://h//a//b", b"/a//b", None),
        (RAW, "/caf\u00e9?q=\u00e9 ".strip().encode(), b"/caf%C3%A9", b"q=%C3%A9"),
        (RAW, "/a?\U0001f600".encode(), b"/a", b"%F0%9F%98%80"),
        (RAW, b"/a?%C3%A9&x", b"/a", b"%C3%A9&x"),
    ],
)
def test_what_is_legal_may_be_let_through(rules: PathRules, raw: bytes, path: bytes, query: bytes | None) -> None:
    target = parse_target(b"GET", raw, rules)
    assert (target.path, target.query) == (path, query)
    assert parse_target(b"GET", target.path, rules).path == path


EVERYTHING = PathRules(True, True, True, True, True)


@pytest.mark.parametrize(
    "raw",
    [
        b"/%C0%AE%C0%AE/x", b"/%C0%AF", b"/%E0%80%AE", b"/%F0%80%80%AF", b"/a//../b", b"/a//./b", b"/a/..//b",
        b"/..//a", b"/a\xff", b"/a?\xe9", b"/a\x00", b"/a?\x7f", b"/a%00", b"/a%5c", b"/a?\xc0\xae",
    ],
)  # fmt: skip
def test_what_is_let_through_hides_nothing(raw: bytes) -> None:
    with pytest.raises(TargetError):
        parse_target(b"GET", raw, EVERYTHING)


@pytest.mark.parametrize(
    ("raw", "setting"),
    [
        (b"/a%2Fb", "encoded_slashes"), (b"/a;b", "semicolons"), (b"/%E9", "invalid_utf8"),
        ("/?\u00e9".encode(), "raw_utf8"), ("/\u00e9".encode(), "raw_utf8"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_setting(raw: bytes, setting: str) -> None:
    with pytest.raises(TargetError, match=f"{setting}' below 'paths', or below a route's 'path_rules'"):
        parse_target(b"GET", raw, STRICT)
    parse_target(b"GET", raw, PathRules(**{setting: True}))


@pytest.mark.parametrize("raw", [b"/%C0%AE", b"/a%5C", b"/a\\b", b"/a/../b", b"/%00", b"/a#b"])
def test_no_setting_is_named_where_there_is_none(raw: bytes) -> None:
    with pytest.raises(TargetError) as refused:
        parse_target(b"GET", raw, STRICT)
    assert "below" not in refused.value.detail


@pytest.mark.parametrize(
    ("path", "count", "rest"),
    [
        (b"/a/b/c", 1, b"/b/c"), (b"/a//b", 1, b"//b"), (b"//a//b//c", 2, b"//c"), (b"/a", 1, b""), (b"/a//", 1, b"//"),
        (b"/a", 2, b""), (b"/a//b", 0, b"/a//b"),
    ],
)  # fmt: skip
def test_what_follows_some_segments_keeps_its_slashes(path: bytes, count: int, rest: bytes) -> None:
    assert after_segments(path, count) == rest


def test_rules_are_joined() -> None:
    assert PathRules(invalid_utf8=True, raw_utf8=True) == LATIN | RAW


@given(
    st.lists(_PIECES, max_size=12).map(lambda pieces: b"/" + b"".join(pieces)),
    st.sampled_from([b"", b"?", b"?a=%2F//;b"]),
)
def test_a_simple_target_is_its_own_canonical_form_under_any_rules(path: bytes, query: bytes) -> None:
    simple = SIMPLE.fullmatch(path + query)
    if simple is not None:
        for rules in (STRICT, EVERYTHING):
            target = parse_target(b"GET", path + query, rules)
            assert (target.path, target.query, target.authority) == (simple[1], simple[2], None)
