"""What `propylon explain` says of step 4: who chooses, who is passed over, and what happens when one fails."""

import json
from pathlib import Path
from typing import Any

import pytest

ONE = "http://127.0.0.1:3001"
TWO = f"{ONE}, http://127.0.0.1:3002"


def chosen(run: Any, folder: Path, service: str, *, route: str = "", method: str = "GET") -> tuple[str, list[str]]:
    """The outcome of step 4 and its details, for a service and a route written in flow style."""
    (folder / "one.yaml").write_text(
        f"zone: eu-1a\nservices:\n  a: {{{service}}}\n  spare: {{endpoints: [http://127.0.0.1:3009]}}\n"
        f"routes: [{{path: /*, service: a{route}}}]\n"
    )
    result = run("explain", "one.yaml", method, "/", "--json")
    assert result.exit_code == 0, result.output
    step = next(each for each in json.loads(result.output)["steps"] if each["name"] == "choose")
    return step["outcome"].removeprefix("service a: "), step["details"]


@pytest.mark.parametrize(
    ("service", "outcome"),
    [
        (f"endpoints: [{TWO}]", "one of 2 by p2c"),
        (
            f"endpoints: [{TWO}], balance: {{consistent_hash: {{path: true}}}}",
            "one of 2 by consistent_hash (path, bound 1.25)",
        ),
        (
            f"endpoints: [{TWO}], balance: {{consistent_hash: {{header: X-User}}}}",
            "one of 2 by consistent_hash (header X-User, no bound)",
        ),
        (f"endpoints: [{TWO}], balance: sticky", "one of 2 by sticky (cookie propylon_sticky)"),
        (
            f"endpoints: [{TWO}], balance: {{sticky: {{header: mcp-session-id}}}}",
            "one of 2 by sticky (header mcp-session-id)",
        ),
        (f"endpoints: [{ONE}]", "its only endpoint"),
        (f"endpoints: [{{url: {ONE}, weight: 0}}, http://127.0.0.1:3002]", "its only endpoint"),
        (f"endpoints: [{{url: {ONE}, weight: 0}}]", "answered with 503, as every endpoint has weight 0"),
        ("discover: {file: x.yaml}", "one of the endpoints that file finds, by p2c"),
    ],
)
def test_who_chooses_among_what(run: Any, folder: Path, service: str, outcome: str) -> None:
    assert chosen(run, folder, service)[0] == outcome


def test_each_endpoint_is_told_with_what_its_choice_depends_on(run: Any, folder: Path) -> None:
    endpoints = (
        "{url: http://a:1, zone: eu-1a}, {url: http://b:1, weight: 2, zone: eu-1b}, {url: http://c:1, weight: 0}, "
        "{url: http://d:1, priority: 1}"
    )
    assert chosen(run, folder, f"endpoints: [{endpoints}]")[1][:4] == [
        "http://a:1 (weight 1, zone eu-1a, the gateway's own)",
        "http://b:1 (weight 2, zone eu-1b)",
        "http://c:1 (weight 0: gets nothing new)",
        "http://d:1 (weight 1, priority 1: when those below are not well)",
    ]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ("", "passive health: 5 failures in a row put an endpoint aside for 10s"),
        ("connections: {max_age: 10m}", "connections: used for 600s at most"),
        ("connections: {max_age: none}", "connections: of any age"),
        ("connections: {response_head: 16KiB}", "connections: heads of responses up to 16384 bytes"),
        ("connections: {follow_dns: false}", "connections: stay when the endpoint's name has other addresses"),
        (
            "health: {passive: {failure_rate: 20%, consecutive: none}}",
            "passive health: 20% failures in 30s put an endpoint aside for 10s",
        ),
        ("health: /up", "health check: GET /up every 10s; 3 bad ones put an endpoint aside"),
        (
            "health: {tcp: true, interval: 5s}",
            "health check: a connection every 5s; 3 bad ones put an endpoint aside",
        ),
        ("breaker: {consecutive: 5}", "breaker of each endpoint: 5 failures in a row open it for 15s"),
        (
            "breaker: {per: both, failures: 9, failure_rate: 50%, open: 1m}",
            "breaker of each endpoint and the service: 9 failures in 10s or 50% failures in 10s open it for 60s",
        ),
        ("concurrency: 100", "concurrency: 100 in the service; none may wait"),
        (
            "concurrency: {max: 100, per_endpoint: 40, queue: 7}",
            "concurrency: 100 in the service, 40 at an endpoint; 7 may wait",
        ),
        ("slow_start: 30s", "slow start: 30s"),
        ("hedge: p95", "hedge: a second endpoint is asked after what 95 of 100 answers take"),
        ("hedge: 50ms", "hedge: a second endpoint is asked after 0.05s"),
        ("", "retries: up to 2 for busy, connect, reset"),
        ("retry: {attempts: 4, on: [], statuses: 503}", "retries: up to 3 for some answers"),
        ("retry: none", "retries: none"),
    ],
)
def test_a_rule_that_holds_has_a_line(run: Any, folder: Path, settings: str, line: str) -> None:
    assert line in chosen(run, folder, f"endpoints: [{TWO}], {settings}")[1]


def test_what_is_off_or_of_no_effect_has_no_line(run: Any, folder: Path) -> None:
    service = f"endpoints: [{ONE}], hedge: p95, health: {{passive: true}}"
    assert chosen(run, folder, service)[1] == [f"{ONE} (weight 1)", "retries: none, as there is no other endpoint"]


def test_what_is_said_of_retries_holds_for_the_route_and_the_method(run: Any, folder: Path) -> None:
    service = f"endpoints: [{TWO}], hedge: p95"
    details = chosen(run, folder, service, route=", retry: 2", method="POST")[1]
    assert "retries: up to 1 for busy, connect, reset; POST only if nothing of it was sent" in details
    assert not any(line.startswith("hedge") for line in details)


@pytest.mark.parametrize(
    ("fallback", "line"),
    [("{service: spare}", "fallback: service spare"), ("{respond: {status: 503}}", "fallback: a fixed answer")],
)
def test_what_takes_over_is_told(run: Any, folder: Path, fallback: str, line: str) -> None:
    assert chosen(run, folder, f"endpoints: [{ONE}]", route=f", fallback: {fallback}")[1][-1] == line
