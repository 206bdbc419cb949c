"""What the programs of the load print, and what they print when they give up."""

from __future__ import annotations

import pytest
from bench.measure import Echoes, Latencies, parse_echoes, parse_fan_out, parse_latencies, parse_s_time

S_TIME = """Collecting connection statistics for 1 seconds
****************

500 connections in 0.54s; 925.93 connections/user sec, bytes read 0
500 connections in 2 real seconds, 0 bytes read per connection
"""


def test_echoes_are_told_in_microseconds_and_read_as_milliseconds() -> None:
    output = '{"messages": 10000, "seconds": 2.000023, "p50": 135.9, "p99": 1698.9}\n'
    assert parse_echoes(output) == Echoes(10_000, 2.000023, pytest.approx(0.1359), pytest.approx(1.6989))


def test_the_other_figures_are_milliseconds() -> None:
    assert parse_fan_out('{"events": 10, "p50": 58.955, "worst": 73.572}\n') == 58.955
    assert parse_latencies('{"p50": 0.69, "p99": 6.03}\n') == Latencies(0.69, 6.03)


def test_s_time_is_asked_for_all_of_its_connections() -> None:
    assert parse_s_time(S_TIME) == 500


@pytest.mark.parametrize("output", ["", "no answer to a handshake\n", "HTTP/1.1 502 Bad Gateway\n"])
def test_a_load_that_gave_up_has_no_figures(output: str) -> None:
    for parse in (parse_echoes, parse_fan_out, parse_latencies, parse_s_time):
        with pytest.raises(ValueError, match=r"Expecting value|no handshake"):
            parse(output)


def test_s_time_without_a_handshake_has_no_figures() -> None:
    with pytest.raises(ValueError, match="no handshake"):
        parse_s_time(S_TIME.replace("500", "0"))
