"""The `timeout` policy: it changes only what it names."""

from __future__ import annotations

from dataclasses import fields

import pytest
from pydantic import ValidationError

from propylon.engine.scope import Scope
from propylon.engine.timing import Timeouts
from propylon.policies.timeout import Config, Policy
from tests.support.fakes import exchange


def after(*data: object) -> Timeouts:
    x = exchange()
    for each in data:
        Policy(Config.model_validate(each), Scope()).on_request(x)
    return x.timeouts


def test_a_duration_alone_is_short_for_response() -> None:
    assert after("250ms") == Timeouts(response=0.25)
    assert after(2) == after(2.0) == Timeouts(response=2.0)


def test_each_time_is_set_by_its_name() -> None:
    data = {"connect": "1s", "response": "2s", "idle": "1m", "event_stream": "2m", "total": "1h"}
    assert after(data) == Timeouts(connect=1.0, response=2.0, idle=60.0, event_stream=120.0, total=3600.0)


def test_idle_counts_for_event_streams_too_unless_they_have_their_own() -> None:
    assert after("2s").event_stream is None
    assert after({"idle": "1m"}).event_stream == 60.0
    assert after({"idle": "1m", "event_stream": "none"}).event_stream is None
    assert after({"event_stream": "2m"}, {"idle": "none"}).event_stream is None


def test_every_time_of_an_exchange_can_be_configured() -> None:
    assert set(Config.model_fields) == {field.name for field in fields(Timeouts)}


def test_a_later_one_changes_only_what_it_names_and_none_switches_off() -> None:
    assert after({"connect": "1s", "total": "9s"}, {"total": "none"}) == Timeouts(connect=1.0, total=None)


@pytest.mark.parametrize("data", [{}, "x", "-1s", True, {"conect": "1s"}, {"connect": "soon"}])
def test_what_is_no_time_is_refused(data: object) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(data)
