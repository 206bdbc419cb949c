"""Text in the notation of other programs is told apart from text that is meant."""

from __future__ import annotations

import pytest

from propylon.routing.foreign import foreign_path, foreign_pattern, foreign_text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("$remote_addr", "{client.address}"),
        ("x-$request_uri-y", "{request.path}"),
        ("${host}", "{request.host}"),
        ("$cookie_session", "a policy in Python"),
        ("$1", "{name}"),
        ("%{REMOTE_ADDR}s", "{client.address}"),
        ("%[src]", "{client.address}"),
        ("%DOWNSTREAM_REMOTE_ADDRESS%", "{client.address}"),
    ],
)
def test_variables_of_other_programs_are_found(text: str, hint: str) -> None:
    assert hint in str(foreign_text(text))


@pytest.mark.parametrize("text", ["", "$", "$5 off", "a$b", "$hostile", "100%", "%20", "10%[", "%zz{a}", "US$"])
def test_other_text_is_not(text: str) -> None:
    assert foreign_text(text) is None


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/users/:id", "'{id}'"),
        ("/:a/b", "'{a}'"),
        ("^/api", "path_regex"),
        ("~ ^/api", "path_regex"),
        ("~*/x", "regular"),
    ],
)
def test_patterns_of_other_programs_are_found(path: str, hint: str) -> None:
    assert hint in str(foreign_pattern(path))


@pytest.mark.parametrize("path", ["/a:b", "/v1/x:cancel", "/a/:", "/~user/x", "/a^b", "/{id}", "/a/:1"])
def test_other_patterns_are_not(path: str) -> None:
    assert foreign_pattern(path) is None


def test_groups_and_colons_in_a_new_path_are_found() -> None:
    assert "'\\1'" in str(foreign_path("/v2/$1"))
    assert "'{id}'" in str(foreign_path("/v2/:id"))
    assert foreign_path("/v2/$10/a:b") is None
