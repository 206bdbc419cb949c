"""`when:` and `unless:`: every key of a condition must hold, any condition of a list."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from propylon.engine.condition import combine, one_condition
from propylon.engine.exchange import Exchange
from propylon.routing.router import Rule, RuleError
from tests.support.fakes import exchange

FIELDS = b"host: a.example\r\nx-kind: blue\r\n"


def holds(x: Exchange | None = None, **keys: Any) -> bool:
    predicate = keys.pop("predicate", None)
    x = x or exchange(method=b"POST", path=b"/a/b", query=b"q=1&r", fields=FIELDS)
    return one_condition(Rule(route=True, **keys), predicate)(x)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, True),
        ({"methods": ["POST"]}, True),
        ({"methods": ["GET", "PUT"]}, False),
        ({"paths": ["/a/*"]}, True),
        ({"paths": ["/x", "/{one}/b"]}, True),
        ({"paths": ["/a"]}, False),
        ({"headers": {"X-Kind": "blue"}}, True),
        ({"headers": {"x-kind": "*"}}, True),
        ({"headers": {"x-kind": "red"}}, False),
        ({"headers": {"x-none": "*"}}, False),
        ({"query": {"q": "1"}}, True),
        ({"query": {"r": "*"}}, True),
        ({"query": {"q": "2"}}, False),
        ({"predicate": lambda x: x.path == b"/a/b"}, True),
        ({"predicate": lambda x: 0}, False),
        ({"hosts": ["a.example"]}, True),
        ({"hosts": ["b.example", "*.a.example"]}, False),
        ({"clients": ["192.0.2.0/24"]}, True),
        ({"clients": ["10.0.0.0/8"]}, False),
        ({"scheme": "http"}, True),
        ({"scheme": "https"}, False),
        ({"listeners": {"internal": "127.0.0.1:9000"}}, False),
        ({"methods": ["POST"], "headers": {"x-kind": "red"}}, False),
        ({"methods": ["POST"], "paths": ["/a/b"], "headers": {"x-kind": "blue"}, "query": {"q": "1"}}, True),
    ],
)
def test_every_key_must_hold(keys: dict[str, Any], expected: bool) -> None:
    assert holds(**keys) is expected


def test_a_predicate_is_asked_only_if_the_rest_holds() -> None:
    def predicate(x: Exchange) -> bool:
        raise AssertionError

    assert not holds(methods=["GET"], predicate=predicate)


def test_what_a_client_may_not_set_is_no_condition() -> None:
    x = exchange(fields=b"host: a\r\nx-forwarded-for: 10.0.0.1\r\n")
    assert not holds(x, headers={"x-forwarded-for": "*"})


def test_a_listener_is_compared_by_its_id() -> None:
    x = exchange()
    x.client.listener_id = "127.0.0.1:9000"  # type: ignore[misc]
    assert holds(x, listeners={"internal": "127.0.0.1:9000"})
    assert not holds(x, listeners={"127.0.0.1:9000": "127.0.0.1:9001"})


def test_the_path_is_the_one_the_request_has_now() -> None:
    condition = one_condition(Rule(route=True, paths=["/new"]), None)
    x = exchange()
    assert not condition(x)
    x.request.path = "/new"
    assert condition(x)


def test_a_pattern_that_is_none_is_refused_when_it_is_compiled() -> None:
    with pytest.raises(RuleError):
        holds(paths=["no-slash"])


@pytest.mark.parametrize(("when", "unless"), list(itertools.product(itertools.product((0, 1), repeat=2), repeat=2)))
def test_any_of_when_and_none_of_unless(when: tuple[int, ...], unless: tuple[int, ...]) -> None:
    def listed(values: tuple[int, ...]) -> list[Any]:
        return [lambda x, value=value: bool(value) for value in values]

    x = exchange()
    both, only_when, only_unless = (
        combine(listed(when), listed(unless)),
        combine(listed(when), []),
        combine([], listed(unless)),
    )
    assert both is not None
    assert only_when is not None
    assert only_unless is not None
    assert both(x) is (any(when) and not any(unless))
    assert only_when(x) is any(when)
    assert only_unless(x) is not any(unless)


def test_no_condition_is_none() -> None:
    assert combine([], []) is None
