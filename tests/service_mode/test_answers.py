"""The bodies of the mode's own answers."""

from __future__ import annotations

import pytest

from propylon import Gateway
from propylon.engine.errors import GatewayError
from propylon.failures import FAILURES
from propylon.service_mode.answers import ServiceErrors
from propylon.service_mode.load import load
from propylon.testing import Answer, ServiceDown, TestClient
from tests.support.fakes import exchange, snapshot

UPSTREAMS = '{"users": ["http://127.0.0.1:3001"]}'


def ask(target: str, down: str | None = None, method: str = "GET") -> Answer:
    gateway = Gateway.from_config(load({"UPSTREAMS": UPSTREAMS}))
    return TestClient(gateway, {} if down is None else {"users": ServiceDown(down)}).request(method, target)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/api/nobody/x", "nobody"),
        ("/api/nobody", "nobody"),
        ("/api/Users/x", "Users"),
        ("/api/users%2Fx/y", "users/x"),
        ("/sse/nobody/", "nobody"),
        ("/ws/nobody?path=/x", "nobody"),
        ("/api/caf%C3%A9/x", "café"),
        ("/api/%22%3Cb%3E/x", '"<b>'),
    ],
)
def test_an_unknown_service_is_named(target: str, name: str) -> None:
    answer = ask(target)
    assert answer.status == 404
    assert answer.json() == {"error": "unknown_service", "message": f"No upstream configured for service: {name}"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("code", ["connect.timeout", "head.timeout", "attempt.total_timeout", "attempt.stalled"])
@pytest.mark.parametrize("way", ["api", "sse"])
def test_a_slow_service_is_told(code: str, way: str) -> None:
    answer = ask(f"/{way}/users/x", code)
    assert answer.status == 504
    assert answer.json() == {"error": "upstream_timeout", "message": "Upstream request timed out"}


@pytest.mark.parametrize(
    "code", ["connect.refused", "connect.dns", "connect.unreachable", "connect.tls", "attempt.closed", "head.bad"]
)
def test_a_broken_service_is_told(code: str) -> None:
    answer = ask("/api/users/x", code)
    assert answer.status == 502
    assert answer.json() == {"error": "upstream_unavailable", "message": "Failed to reach upstream"}
    assert "127.0.0.1" not in answer.text


def test_every_failure_of_a_service_has_one_of_the_two_bodies() -> None:
    x = exchange(snapshot())
    for code in FAILURES:
        response = ServiceErrors().on_error(x, GatewayError(code))
        ours = code.startswith(("choose.", "connect.", "attempt.", "head."))
        assert (response is not None) == (ours or code == "request.body_too_large"), code
        if ours and response is not None:
            assert response.status == (504 if FAILURES[code].status == 504 else 502)


def test_a_head_has_the_status_and_no_body() -> None:
    answer = ask("/api/users/x", "connect.refused", "HEAD")
    assert (answer.status, answer.body) == (502, b"")


def test_other_failures_are_problem_details() -> None:
    answer = ask("/nowhere")
    assert (answer.status, answer.json()["code"]) == (404, "match.no_route")


def test_a_service_without_its_slash_says_where_it_is() -> None:
    answer = ask("/api/users")
    assert (answer.status, answer.json()["detail"]) == (404, "a service is below its name: /api/users/")
