"""What the key of a request is made of, as it is written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from propylon.config.schema.key import KeyConfig
from propylon.routing.key import Key


def key_of(settings: dict[str, Any]) -> Key:
    def function_of(reference: object) -> Any:
        return lambda x: str(reference).encode()

    return KeyConfig.model_validate(settings).key(function_of)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"header": "X-User"}, "header x-user"),
        ({"cookie": "session"}, "cookie session"),
        ({"query": "tenant"}, "query parameter tenant"),
        ({"path": True}, "path"),
        ({"client": True}, "client address"),
        ({"python": "keys:by_tenant"}, "python keys:by_tenant"),
    ],
)
def test_each_kind_becomes_its_key(settings: dict[str, Any], name: str) -> None:
    assert str(key_of(settings)) == name


def test_a_function_is_called_as_the_caller_says() -> None:
    assert key_of({"python": "keys:by_tenant"}).read(None) == b"keys:by_tenant"  # type: ignore[arg-type]


async def later(x: object) -> bytes:
    return b""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of .* here is none"),
        ({"header": "a", "query": "b"}, "here are header, query"),
        ({"client": False}, "should be True"),
        ({"header": "a b"}, "header"),
        ({"header": "X-Forwarded-For"}, "write 'client: true'"),
        ({"cookie": ""}, "cookie"),
        ({"python": "nope"}, "should be module:function"),
        ({"python": Key}, "Key is a class: give a function"),
        ({"python": later}, "write a plain def"),
        ({"headers": "a"}, "headers"),
    ],
)
def test_what_is_no_key_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=f"(?is){message}"):
        KeyConfig.model_validate(settings)
