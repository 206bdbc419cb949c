"""Host and path patterns: what they mean, and sentences for those that mean nothing."""

from __future__ import annotations

import pytest

from propylon.routing.pattern import HostPattern, PathPattern, RuleError, regex_path


@pytest.mark.parametrize(
    ("pattern", "host", "port", "matches"),
    [
        ("api.example.com", b"api.example.com", None, True),
        ("API.Example.com.", b"api.example.com", b"8080", True),
        ("api.example.com:8080", b"api.example.com", b"8080", True),
        ("api.example.com:8080", b"api.example.com", None, False),
        ("*.example.com", b"a.example.com", None, True),
        ("*.example.com", b"a.b.example.com", b"1", True),
        ("*.example.com", b"example.com", None, False),
        ("*.example.com", b"badexample.com", None, False),
        ("*.example.com:81", b"a.example.com", b"82", False),
        ("*", b"anything", None, True),
        ("*:81", b"anything", b"81", True),
        ("*:81", b"anything", b"80", False),
        ("[::1]:80", b"[::1]", b"80", True),
    ],
)
def test_host_patterns(pattern: str, host: bytes, port: bytes | None, matches: bool) -> None:
    assert HostPattern(pattern).matches(host, port) is matches


@pytest.mark.parametrize("more_specific_first", [("a.b.c:1", "a.b.c", "*.b.c:1", "*.b.c", "*.c", "*:1", "*")])
def test_host_ranks(more_specific_first: tuple[str, ...]) -> None:
    ranks = [HostPattern(text).rank for text in more_specific_first]
    assert ranks == sorted(set(ranks))


def test_path_ranks() -> None:
    patterns = ["/a", "/a/b", "/a/{x}", "/a/{x}/*", "/a/*", "/{x}/b", "/{x}/*"]
    ranks = [PathPattern(text).rank for text in patterns] + [regex_path("/x.*").rank, PathPattern("/*").rank]
    assert ranks == sorted(set(ranks))


@pytest.mark.parametrize(
    ("text", "segments", "names", "rest"),
    [
        ("/", (b"",), (), False),
        ("/*", (), (), True),
        ("/a/", (b"a", b""), (), False),
        ("/users/{id}/posts/{post}/*", (b"users", None, b"posts", None), ("id", "post"), True),
        ("/caf\u00e9/%7e x".replace(" ", ""), (b"caf%C3%A9", b"~x"), (), False),
    ],
)
def test_path_patterns_are_canonical(
    text: str, segments: tuple[bytes | None, ...], names: tuple[str, ...], rest: bool
) -> None:
    pattern = PathPattern(text)
    assert (pattern.segments, pattern.names, pattern.rest) == (segments, names, rest)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("users", "must begin with '/'"),
        ("", "must begin with '/'"),
        ("/a*", "'\\*' must be the whole last segment"),
        ("/*/a", "'\\*' must be the whole last segment"),
        ("/v{n}", "a parameter must be a whole segment"),
        ("/{a}.json", "a parameter must be a whole segment"),
        ("/{}", "no parameter name"),
        ("/{user-id}", "no parameter name"),
        ("/{a}/{a}", "two parameters '{a}'"),
        ("/a//b", "empty segment"),
        ("/a//*", "empty segment"),
        ("/a/../b", "dot segment"),
        ("/a?b", "0x3F"),
        ("/a b", "0x20"),
        ("/x" * 65, "more than 64 segments"),
    ],
)
def test_bad_paths_are_told_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(RuleError, match=sentence):
        PathPattern(text)


@pytest.mark.parametrize("text", ["", "a.*.com", "*a.com", "**.a", "*.", "a b", "http://a", "a/b", "a:0", "\u00e4.com"])
def test_bad_hosts_are_told_with_the_host(text: str) -> None:
    with pytest.raises(RuleError, match="host '"):
        HostPattern(text)


def test_a_slow_regex_is_told_with_the_reason() -> None:
    with pytest.raises(RuleError, match=r"path_regex .* could take very long"):
        regex_path("(a+)+")
