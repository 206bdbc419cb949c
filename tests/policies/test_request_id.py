"""The `request_id` policy: whose id it is, and who gets it."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from propylon.engine.scope import Scope
from propylon.policies.request_id import Config, Policy
from tests.support.fakes import exchange


def test_by_default_nothing_changes() -> None:
    x = exchange()
    Policy(Config(), Scope()).on_request(x)
    assert (x.id, x.shows_request_id) == (b"id-1", True)


def test_an_untrusted_id_is_replaced_by_a_new_one_each_time() -> None:
    policy = Policy(Config(trust=False), Scope())
    ids = set()
    for _ in range(10):
        x = exchange()
        policy.on_request(x)
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", x.request_id)
        ids.add(x.request_id)
    assert len(ids) == 10


def test_the_id_can_be_kept_from_the_client() -> None:
    x = exchange()
    Policy(Config(respond=False), Scope()).on_request(x)
    assert (x.id, x.shows_request_id) == (b"id-1", False)


@pytest.mark.parametrize("data", [{"trust": "no"}, {"trust": 0}, {"other": True}])
def test_what_is_no_boolean_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(data)
