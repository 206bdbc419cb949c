"""The `sse` policy: it sets rules, and counts streams exactly."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from propylon.engine.errors import GatewayError
from propylon.engine.event_stream import NO_RULES, StreamRules
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.scope import Scope
from propylon.policies.sse import Config, Policy
from tests.support.fakes import OK, FakeClient, FakeEndpoint, FakeUpstream, exchange, snapshot

STREAM = OK + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"


def policy(**config: Any) -> Policy:
    return Policy(Config.model_validate(config), Scope(random=lambda: 0.5))


def rules(*configs: dict[str, Any]) -> StreamRules:
    x = exchange()
    for config in configs:
        policy(**config).on_request(x)
    return x.stream_rules


class Ask:
    """One request to a stream of a service, through policies."""

    def __init__(self, *policies: object, accept: bytes = b"*/*", method: bytes = b"GET") -> None:
        self.client, self.upstream = FakeClient(), FakeUpstream()
        made_of = snapshot(*policies, endpoint=FakeEndpoint(self.upstream))
        fields = b"host: a\r\naccept: %b\r\n" % accept
        self.x: Exchange = exchange(made_of, client=self.client, method=method, fields=fields)
        self.x.start(forward(self.x))

    def begin(self, head: bytes = STREAM) -> Ask:
        self.upstream.request_sent = True
        self.upstream.begin_answer(head)
        return self

    @property
    def refused(self) -> bool:
        """Whether it was answered with the policy's 503."""
        if not self.client.heads or self.client.heads[0][0] != 503:
            return False
        assert b"retry-after: 5\r\n" in self.client.heads[0][1]
        assert b'"response.too_many_streams"' in self.client.body
        assert self.x.finished
        return True


def test_each_rule_is_set_by_its_name() -> None:
    made = rules({"heartbeat": "15s", "error_event": True, "max_streams": 9, "max_age": "1h"})
    assert made == StreamRules(heartbeat=15.0, error_event=True, max_age=3600 * 0.95)
    assert rules({"max_streams": 9}) is NO_RULES


def test_a_later_one_changes_only_what_it_names() -> None:
    assert rules({"heartbeat": "15s", "max_age": 10}, {"max_age": "none"}) == StreamRules(heartbeat=15.0)


def test_ages_are_spread_over_the_last_tenth() -> None:
    ages = []
    for number in (0.0, 1.0):
        x = exchange()
        Policy(Config.model_validate({"max_age": 100}), Scope(random=lambda number=number: number)).on_request(x)
        ages.append(x.stream_rules.max_age)
    assert ages == [100.0, 90.0]


def test_it_sees_responses_only_if_it_counts() -> None:
    assert not hasattr(policy(heartbeat=1), "on_response")


@pytest.mark.parametrize("data", [{}, {"heartbeat": "x"}, {"error_event": 1}, {"max_streams": -1}, {"beat": 1}, "15s"])
def test_what_is_no_setting_is_refused(data: object) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(data)


# counting


def test_a_stream_too_many_is_refused_and_its_endpoint_let_go() -> None:
    limit = policy(max_streams=2)
    open_ones = [Ask(limit).begin() for _ in range(2)]
    third = Ask(limit).begin()
    assert third.refused
    assert third.upstream.finished == 1
    assert not any(each.refused for each in open_ones)


def test_what_asks_for_nothing_but_a_stream_is_refused_before_the_service_is_asked() -> None:
    limit = policy(max_streams=1)
    first = Ask(limit).begin()
    refused = Ask(limit, accept=b"text/event-stream")
    assert refused.refused
    assert refused.upstream.sent == []
    assert not Ask(limit, accept=b"application/json, text/event-stream").refused
    assert not first.x.finished


@pytest.mark.parametrize(
    "end",
    [
        lambda ask: ask.upstream.end_answer(),
        lambda ask: ask.upstream.fail("relay.truncated"),
        lambda ask: ask.x.fail(GatewayError("relay.client_gone")),
        lambda ask: ask.x.lasting._end(),
    ],
    ids=["ended", "failed", "client gone", "too old"],
)
def test_a_stream_is_counted_down_once_however_it_ends(end: Any) -> None:
    limit = policy(max_streams=1)
    for _ in range(3):
        ask = Ask(limit).begin()
        assert not ask.refused
        assert Ask(limit).begin().refused
        end(ask)
    assert limit._limit._open == 0


def test_a_stream_that_a_later_policy_takes_away_is_counted_down() -> None:
    def fails(x: Exchange) -> None:
        raise ZeroDivisionError

    class Later:
        on_response = staticmethod(fails)

    limit = policy(max_streams=1)
    Ask(limit, Later()).begin()
    assert limit._limit._open == 0


@pytest.mark.parametrize("head", [STREAM.replace(b"event-stream", b"plain"), OK + b"transfer-encoding: chunked\r\n"])
def test_other_responses_are_not_counted(head: bytes) -> None:
    limit = policy(max_streams=1)
    Ask(limit).begin(head)
    assert limit._limit._open == 0


def test_neither_a_head_request_nor_a_stream_that_has_arrived_whole_is_counted() -> None:
    limit = policy(max_streams=1)
    whole = Ask(limit)
    whole.upstream.answer(STREAM, b"data: 1\n\n")
    Ask(limit, method=b"HEAD").begin()
    assert limit._limit._open == 0


def test_a_compressed_stream_is_counted() -> None:
    limit = policy(max_streams=1)
    ask = Ask(limit).begin(STREAM + b"content-encoding: gzip\r\n")
    assert (limit._limit._open, ask.x.finished) == (1, False)
