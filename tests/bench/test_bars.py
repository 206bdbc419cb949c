"""What a bar compares: figures as they are, and CPU time where the load was the slower side."""

from __future__ import annotations

import pytest
from bench.bars import BARS, Figures, Verdict, peers_of, verdicts
from bench.peers import nginx, node, propylon
from bench.scenarios import SCENARIOS

BESIDE_NGINX = "WebSocket messages beside nginx"
ADDED = "paced WebSocket messages, added to p99"


def held(text: str, scenario: str, rows: dict[str, Figures]) -> Verdict:
    """The verdict of one bar over the rows of its scenario."""
    return next(item for item in verdicts({scenario: rows}) if item.bar.text == text)


def messages(rate: float, cpu: float, busy: float) -> Figures:
    return {"messages": rate, "message_us": cpu, "busy": busy}


def test_a_rate_is_compared_when_both_gateways_were_the_slower_side() -> None:
    rows = {"nginx": messages(50_000, 20, 99), "Propylon": messages(40_000, 30, 100)}
    verdict = held(BESIDE_NGINX, "websocket", rows)
    assert verdict.measured == pytest.approx(0.8)
    assert verdict.met
    assert verdict.distance == "met, 14 % to spare"


@pytest.mark.parametrize(("mine", "other"), [(60, 100), (100, 60)])
def test_cpu_time_is_compared_when_the_load_was_the_slower_side_for_one_of_them(mine: float, other: float) -> None:
    rows = {"nginx": messages(50_000, 20, other), "Propylon": messages(50_000, 40, mine)}
    verdict = held(BESIDE_NGINX, "websocket", rows)
    assert verdict.measured == pytest.approx(0.5)
    assert verdict.met is False
    assert verdict.distance == "**missed by 29 %**, by CPU time: the load was the slower side"


@pytest.mark.parametrize("rows", [{}, {"Propylon": messages(1, 1, 50)}, {"nginx": messages(1, 1, 50), "Propylon": {}}])
def test_a_row_that_is_missing_is_told(rows: dict[str, Figures]) -> None:
    verdict = held(BESIDE_NGINX, "websocket", rows)
    assert (verdict.measured, verdict.met, verdict.distance) == (None, None, "not measured")


def test_a_gateway_that_adds_nothing_has_all_to_spare() -> None:
    verdict = held(ADDED, "websocket_paced", {"Propylon": {"added": -0.5}})
    assert verdict.met
    assert verdict.measured == -0.5


def test_every_bar_names_rows_and_columns_that_there_are() -> None:
    tables = {scenario.name: scenario for scenario in SCENARIOS}
    for bar in BARS:
        table = tables[bar.scenario]
        assert {bar.peer, *([bar.against] if bar.against else [])} <= set(table.peers), bar.text
        assert {bar.figure, *([bar.cost] if bar.cost else [])} <= set(table.columns), bar.text


def test_the_rows_that_bars_compare() -> None:
    assert peers_of("websocket") == {propylon.PEER, nginx.PEER, node.HTTP_PROXY, node.FASTIFY}
    assert peers_of("idle_sse") == {propylon.PEER}
    assert peers_of("slow_endpoint") == {propylon.P2C, propylon.ROUND_ROBIN}
    assert peers_of("unique") == set()
