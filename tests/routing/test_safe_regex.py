"""Patterns of users: linear, or refused (security case 53)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon.routing.safe_regex import UnsafeRegex, compile_regex

EVIL = [
    r"(a+)+$", r"(a|a)*", r"(a|aa)+", r"(.*)*", r"\d+\d+$", r"x*x*y", r"^(\w+\s?)*$", r"([a-z]+)*x", r"(a*)*", r"(a?)+",
    r"(a|b|ab)*c", r"(x+x+)+y", r".*.*=.*", r".*foo.*bar", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(?:a?b?)*",
    r"(?i:a+)A+", r"(a{0,100}){0,100}", r"(|)(|)(|)", r"(?:a|b?)*", r"\d*[0-9]*x", r"[a-z]{1,40}[a-z]{1,40}", r"(.*)+x",
    r"[^/]+/?[^/]+", r"(a|a){30}", r".*?a.*?b", r"([ab]*c?)+", r".*foo.*\b",
]  # fmt: skip

UNKNOWN = [
    (r"(a)\1", "back-reference"), (r"(?P<q>a)(?P=q)", "back-reference"), (r"(a)?(?(1)b|c)", "condition"),
    (r"(?=a+)b", "lookaround"), (r"(?!a*)b", "lookaround"), (r"(?<=a)b", "lookaround"), (r"(?<!a)b", "lookaround"),
    (r"a++b", "possessive"), (r"(?>a)b", "atomic"), (r"(", "not a regular expression"), ("ä", "ASCII"),
    (r"(?-i:a)(?s-i:b)", "flags"), (r"(?L)a", "flag"), ("a" * 1001, "longer than"), (r"a{999}", "over 300"),
    (r"(((a{9}){9}){9}){9}", "over 300"),
]  # fmt: skip

BENIGN = [
    (r"^/v\d+/users/(\d+)$", b"/v1/users/42", b"/v1/users/x"),
    (r"^/(en|de)/.*$", b"/en/a/b", b"/fr/"),
    (r"[a-z0-9-]+", b"a-1", b"A"),
    (r".*Mobile.*", b"x Mobile y", b"x"),
    (r"/files/.*\.(jpg|jpeg|png|gif|webp)$", b"/files/a/b.jpeg", b"/files/a.txt"),
    (r"/[^/]+/users/[^/]+", b"/t/users/5", b"/t/users/5/6"),
    (r"(/[a-z]+)*", b"/a/b", b"/a/"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", b"123e4567-e89b-12d3-a456-426614174000", b"x"),
    (r"/(?:[a-z0-9]+-)*[a-z0-9]+", b"/a-b-c", b"/-"),
    (r".*/users/\d+", b"/a/b/users/5", b"/users/x"),
    (r"Bearer .+", b"Bearer x", b"Bearer "),
    (r"(?i)mozilla/.*", b"MOZILLA/5", b"curl"),
    (r"(en|en-US|de|de-AT|fr)/.*", b"de-AT/x", b"at/x"),
    (r"/v(1|2|10)(/.*)?", b"/v10", b"/v3"),
    (r"v?\d{1,3}(\.\d{1,3}){0,2}", b"v1.2.3", b"1.2.3.4"),
    (r"(?P<lang>[a-z]{2})(?:-(?P<region>[A-Z]{2}))?", b"de-AT", b"de-"),
    (r"(\w|\d)+", b"a1", b"-"),  # `re` reads it as one character set
    (r"", b"", b"x"),
]


@pytest.mark.parametrize("pattern", EVIL)
def test_patterns_that_backtrack_are_refused(pattern: str) -> None:
    with pytest.raises(UnsafeRegex):
        compile_regex(pattern)


@pytest.mark.parametrize(("pattern", "word"), UNKNOWN, ids=[case[0][:20] for case in UNKNOWN])
def test_what_the_analysis_does_not_know_is_refused_by_name(pattern: str, word: str) -> None:
    with pytest.raises(UnsafeRegex, match=word):
        compile_regex(pattern)


@pytest.mark.parametrize(("pattern", "match", "other"), BENIGN, ids=[case[0] for case in BENIGN])
def test_ordinary_patterns_are_accepted(pattern: str, match: bytes, other: bytes) -> None:
    compiled = compile_regex(pattern)
    assert compiled.fullmatch(match)
    assert not compiled.fullmatch(other)


_PARTS = st.sampled_from([r"a", r"b", r"[ab]", r".", r"\w", r"(?:a|ab)", r"(?:a|b)", r"ab", r"/", r"[^/]"])
_PATTERNS = st.recursive(
    _PARTS,
    lambda inner: (
        st.builds("(?:{}){}".format, inner, st.sampled_from(["*", "+", "?", "{0,3}", "{2}", "*?", ""]))
        | st.lists(inner, min_size=2, max_size=4).map("".join)
        | st.lists(inner, min_size=2, max_size=3).map(lambda some: f"(?:{'|'.join(some)})")
    ),
    max_leaves=8,
)


@given(_PATTERNS, st.sampled_from([b"a", b"b", b"ab", b"/a", b"a/", b"aab", b"ba/"]))
@settings(max_examples=400, deadline=None)
def test_accepted_patterns_take_linear_time(pattern: str, unit: bytes) -> None:
    try:
        compiled = compile_regex(pattern)
    except UnsafeRegex:
        return
    value = unit * (6000 // len(unit)) + b"!\n"
    start = time.process_time()
    compiled.fullmatch(value)
    assert time.process_time() - start < 0.3  # seconds; quadratic is over 1, exponential never ends
