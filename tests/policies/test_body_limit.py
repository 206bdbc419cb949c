"""The `body_limit` policy."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from propylon.engine.errors import GatewayError
from propylon.engine.scope import Scope
from propylon.policies.body_limit import Config, Policy
from tests.support.fakes import exchange


@pytest.mark.parametrize(("data", "size"), [("10MB", 10_000_000), ("64KiB", 65536), (5, 5), ({"max": "1KiB"}, 1024)])
def test_a_size_alone_is_short_for_max(data: object, size: int) -> None:
    assert Config.model_validate(data).max == size


@pytest.mark.parametrize("data", [{}, "x", -1, True, None, {"max": "1KiB", "more": 1}, 1.5])
def test_what_is_no_size_is_refused(data: object) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(data)


@pytest.mark.parametrize(("length", "refused"), [(b"5", False), (b"6", True)])
def test_a_length_beyond_the_limit_is_refused_before_a_byte_is_read(length: bytes, refused: bool) -> None:
    x = exchange(method=b"POST", fields=b"host: a\r\ncontent-length: %b\r\n" % length)
    policy = Policy(Config(max=5), Scope())
    if refused:
        with pytest.raises(GatewayError) as caught:
            policy.on_request(x)
        assert caught.value.status == 413
        assert "5 bytes" in caught.value.detail
    else:
        policy.on_request(x)
    assert x.body_limit == 5


def test_a_later_limit_replaces_an_earlier_one() -> None:
    x = exchange()
    Policy(Config(max=5), Scope()).on_request(x)
    Policy(Config(max=9), Scope()).on_request(x)
    assert x.body_limit == 9
