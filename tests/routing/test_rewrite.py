"""Rewriting: segment boundaries, templates, and results that are always one canonical path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.address import EndpointAddress
from propylon.engine.exchange import Exchange
from propylon.http.target import KEEP_ALL, KEEP_SLASHES, TargetError, canonical_path
from propylon.routing.captures import NO_CAPTURES, Captures
from propylon.routing.rewrite import (
    Rewrite,
    RewriteError,
    join,
    replace_prefix,
    replace_regex,
    strip,
    template,
)
from tests.support.fakes import exchange

WITH_REST = Captures(frozenset(("id",)), rest=True)
WITHOUT_REST = Captures(frozenset(("id",)))


def request(params: dict[str, bytes] | None = None, rest: bytes = b"") -> Exchange:
    """Return a request with path parameters."""
    x = exchange()
    x.path_params, x.path_rest = params or {}, rest
    return x


def change(rewrite: Rewrite, path: bytes) -> bytes:
    """Apply a rewrite that needs no parameters."""
    return rewrite.apply(path, request())


@pytest.mark.parametrize(
    ("prefix", "path", "result"),
    [
        ("/users", b"/users/5", b"/5"),
        ("/users", b"/users", b""),
        ("/users/", b"/users", b""),
        ("/users", b"/users/", b"/"),
        ("/users/", b"/users/5", b"/5"),
        ("/users", b"/users/users/5", b"/users/5"),
        ("/users", b"/usersx/5", b"/usersx/5"),
        ("/users", b"/Users/5", b"/Users/5"),
        ("/users", b"/a/users/5", b"/a/users/5"),
        ("/", b"/a/b", b"/a/b"),
        ("/a/b", b"/a/b/c/", b"/c/"),
        ("/caf\u00e9", b"/caf%C3%A9/x", b"/x"),
    ],
)
def test_strip_cuts_whole_segments_in_front_only(prefix: str, path: bytes, result: bytes) -> None:
    assert change(strip(prefix), path) == result


@pytest.mark.parametrize(
    ("prefix", "to", "path", "result"),
    [
        ("/a", "/b", b"/a/x", b"/b/x"),
        ("/a", "/b", b"/a", b"/b"),
        ("/a", "/b/", b"/a/x", b"/b/x"),
        ("/a", "/", b"/a/x", b"/x"),
        ("/a", "/", b"/a", b""),
        ("/a", "/", b"/a/", b"/"),
        ("/a", "/b", b"/a/", b"/b/"),
        ("/a/", "/b/", b"/a", b"/b"),
        ("/", "/v2", b"/x", b"/v2/x"),
        ("/", "/v2", b"/", b"/v2/"),
        ("/a", "/b", b"/ax", b"/ax"),
    ],
)
def test_prefixes_are_replaced_at_boundaries(prefix: str, to: str, path: bytes, result: bytes) -> None:
    assert change(replace_prefix(prefix, to), path) == result


@pytest.mark.parametrize(
    ("text", "rest", "result"),
    [
        ("/v2/{id}/{*}", b"p/q", b"/v2/5%20x/p/q"),
        ("/v2/{id}/{*}", b"", b"/v2/5%20x/"),
        ("/{*}/x", b"", b"/x"),
        ("/{*}/x", b"p/", b"/p/x"),
        ("/item-{id}.json", b"", b"/item-5%20x.json"),
        ("/fixed", b"p", b"/fixed"),
        ("/\u00e9/{id}", b"", b"/%C3%A9/5%20x"),
    ],
)
def test_templates_are_filled(text: str, rest: bytes, result: bytes) -> None:
    assert template(text, WITH_REST).apply(b"/ignored", request({"id": b"5%20x"}, rest)) == result


@pytest.mark.parametrize(
    ("regex", "to", "path", "result"),
    [
        ("^/a/(.*)$", r"/b/\1", b"/a/x/y", b"/b/x/y"),
        ("^/a/(.*)$", r"/b/\1", b"/a", b"/a"),
        ("/a/(.*)", r"/\1", b"/a/", b"/"),
        (r"/(?P<x>[a-z]+)/(\d+)", r"/\2/\g<x>", b"/ab/12", b"/12/ab"),
        (r"/(a)?b(.*)", r"/\1/\2", b"/b/c", b"/c"),
    ],
)
def test_regexes_replace_the_whole_path(regex: str, to: str, path: bytes, result: bytes) -> None:
    assert change(replace_regex(regex, to), path) == result


@pytest.mark.parametrize("path", [b"/a..b", b"/a.%2Fb"])
def test_pieces_that_form_a_dot_segment_are_refused(path: bytes) -> None:
    with pytest.raises(TargetError):
        change(replace_regex(r"/a(\.+)(.*)", r"/\1/\2"), path)


def test_half_an_escape_is_refused() -> None:
    with pytest.raises(TargetError):
        change(replace_regex(r"/(%.).", r"/\1"), b"/%20")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: strip("users"), "does not begin with '/'"),
        (lambda: strip("/{a}"), "only work in a template"),
        (lambda: strip("/a/../b"), "dot segment"),
        (lambda: replace_prefix("/a", "/b?x"), "0x3F"),
        (lambda: template("/{idd}", WITHOUT_REST), "unknown parameter 'idd', did you mean 'id'"),
        (lambda: template("/{zzz}", WITHOUT_REST), "there are id"),
        (lambda: template("/{zzz}", NO_CAPTURES), "there are none"),
        (lambda: template("/{*}", WITHOUT_REST), "needs a '\\*' at the end of every path"),
        (lambda: template("v2/{id}", WITHOUT_REST), "must begin with '/'"),
        (lambda: template("{id}", WITHOUT_REST), "must begin with '/'"),
        (lambda: template("/v2?x={id}", WITHOUT_REST), "use query_edit"),
        (lambda: template("/{id", WITHOUT_REST), "'{' stands alone"),
        (lambda: template("/../{id}", WITHOUT_REST), "dot segment"),
        (lambda: replace_regex("(a+)+", "/"), "could take very long"),
        (lambda: replace_regex("/(a)", r"/\2"), "no group; the regex has 1"),
        (lambda: replace_regex("/(?P<name>a)", r"/\g<nam>"), "did you mean 'name'"),
        (lambda: replace_regex("/(a)", r"/\x"), "stands alone"),
        (lambda: replace_regex("/(a)", r"\1"), "must begin with '/'"),
    ],
)
def test_what_cannot_be_compiled_is_told_in_a_sentence(make: object, sentence: str) -> None:
    assert callable(make)
    with pytest.raises(RewriteError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("base", "path", "result"),
    [
        ("", b"/x", b"/x"),
        ("", b"", b"/"),
        ("/api", b"/", b"/api/"),
        ("/api", b"/x", b"/api/x"),
        ("/api/", b"/x", b"/api/x"),
        ("/api", b"", b"/api"),
        ("/api/", b"", b"/api/"),
        ("/api", b"*", b"*"),
    ],
)
def test_an_endpoints_base_path_is_kept(base: str, path: bytes, result: bytes) -> None:
    address = EndpointAddress.parse(f"http://a{base}")
    assert join(address.base_path, address.root, path) == result


_PIECES = st.sampled_from([b"/", b"a", b"b", b".", b"..", b"...", b"%2F", b"%25", b"%C3%A9", b";", b"users", b"%20"])


def _canonical(raw: bytes) -> bytes | None:
    try:
        return canonical_path(b"/" + raw, KEEP_ALL)
    except TargetError:
        return None


_CANONICAL = st.lists(_PIECES, max_size=8).map(lambda pieces: _canonical(b"".join(pieces))).filter(bool)


@given(_CANONICAL, st.sampled_from(["/", "/a", "/a/b", "/users", "/a/"]), st.sampled_from(["", "/", "/a", "/x/y/"]))
def test_strip_and_join_never_make_a_path_that_is_not_canonical(path: bytes, prefix: str, base: str) -> None:
    for rewrite in (strip(prefix), replace_prefix(prefix, base or "/")):
        address = EndpointAddress.parse(f"http://a{base}")
        result = join(address.base_path, address.root, change(rewrite, path))
        assert canonical_path(result, KEEP_ALL) == result
        assert not result.startswith(b"//")


@given(_CANONICAL, st.sampled_from(["/{a}", "/{a}{b}", "/.{a}", "/{*}{a}", "/x/{*}", "/{a}/{*}/{b}", "/%2{a}"]))
def test_templates_give_a_canonical_path_or_none(path: bytes, text: str) -> None:
    first, _, rest = path[1:].partition(b"/")
    try:
        result = template(text, Captures(frozenset("ab"), rest=True)).apply(
            path, request({"a": first or b"a", "b": first or b"b"}, rest)
        )
    except (TargetError, RewriteError):
        return
    assert canonical_path(result, KEEP_ALL) == result
    assert result[:1] == b"/"
    assert result[:2] != b"//"


@pytest.mark.parametrize(
    ("rewrite", "path", "rest", "result"),
    [
        (strip("/img", KEEP_SLASHES), b"/img/https://h/x", b"", b"/https://h/x"),
        (strip("/a/b", KEEP_SLASHES), b"/a//b//c//d", b"", b"/c//d"),
        (strip("/a/b", KEEP_SLASHES), b"/a//b", b"", b""),
        (strip("/a/b", KEEP_SLASHES), b"/a//x//b", b"", b"/a//x//b"),
        (strip("/", KEEP_SLASHES), b"/a//b", b"", b"/a//b"),
        (replace_prefix("/a", "/k", KEEP_SLASHES), b"/a//b", b"", b"/k//b"),
        (replace_prefix("/a", "/k", KEEP_SLASHES), b"/ab//b", b"", b"/ab//b"),
        (template("/x/{*}", Captures(rest=True), KEEP_SLASHES), b"/a/h//b", b"h//b", b"/x/h//b"),
        (replace_regex("/a/(.*)", "/x/\\1", KEEP_SLASHES), b"/a/h//b", b"", b"/x/h//b"),
    ],
)
def test_slashes_that_are_kept_pass_every_rewrite(rewrite: Rewrite, path: bytes, rest: bytes, result: bytes) -> None:
    assert rewrite.apply(path, request(rest=rest)) == result
