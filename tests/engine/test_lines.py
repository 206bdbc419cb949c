"""The lines about an exchange: the same facts in each, as fields; nothing that a peer sends can forge one."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.engine import lines
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.line_limit import LINES
from propylon.engine.lines import Facts, facts_of, name_of, printable
from propylon.failures import FAILURES
from tests.support.fakes import FakeEndpoint, exchange

FACTS = [
    "method",
    "path",
    "client",
    "route",
    "service",
    "endpoint",
    "attempts",
    "bytes_in",
    "bytes_out",
    "elapsed",
    "id",
]


def refused(request_line: bytes) -> Facts:
    x = exchange()
    x.method = x.path = b""
    error = GatewayError("read.bad_field")
    error.request_line = request_line
    return facts_of(x, error)


def of(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [cast("Any", record) for record in caplog.records]


def test_the_facts_of_an_exchange() -> None:
    x = exchange(method=b"POST")
    x.path, x.query = b"/users/7", b"token=s3cret"
    x.endpoint = cast("Any", FakeEndpoint())
    x.attempts, x.bytes_in, x.bytes_out, x.status = 2, 10, 20, 200
    facts = facts_of(x, response="cut")
    del facts["elapsed"]
    assert facts == {
        "status": 200, "response": "cut", "method": "POST", "path": "/users/7", "client": "192.0.2.1", "route": "-",
        "service": None, "endpoint": "http://10.0.0.7:3001", "attempts": 2, "bytes_in": 10, "bytes_out": 20,
        "id": "id-1",
    }  # fmt: skip
    assert "s3cret" not in str(facts)


def test_where_nothing_is_the_text_has_a_dash_and_the_field_is_none() -> None:
    facts = facts_of(exchange())
    assert facts["status"] is None
    assert "status=- " in str(facts)


ALL = [
    partial(lines.failed, error=GatewayError("match.no_route"), response="error"),
    partial(lines.closed, close=cast("Any", type("Close", (), {"code": 1001, "reason": "max_age"}))),
    partial(lines.retried, attempt=cast("Any", type("A", (), {"endpoint": FakeEndpoint(), "outcome": 503})), error=None,
            wait=0.0),
    partial(lines.repeated, endpoint=cast("Any", FakeEndpoint()), error=GatewayError("attempt.closed")),
    partial(lines.reconnecting, endpoint=cast("Any", FakeEndpoint())),
    partial(lines.hedged, endpoint=cast("Any", FakeEndpoint())),
    partial(lines.fell_back, error=GatewayError("choose.no_endpoint")),
    partial(lines.raised, name="m:f", error=ValueError("no")),
    partial(lines.defect, event="a defect"),
    lines.overdue,
    lambda x: lines.blocked("m:f", 0.2, x),
]  # fmt: skip


@pytest.mark.parametrize("told", ALL)
def test_every_line_has_the_same_facts_as_fields_and_as_text(told: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told(exchange())
    (record,) = of(caplog)
    assert [key for key in record.facts if key in FACTS] == FACTS
    assert record.getMessage() == f"{record.event} {record.facts}"
    for name in FACTS:
        assert f" {name}=" in record.getMessage()


# levels


@pytest.mark.parametrize("code", FAILURES)
def test_a_fault_is_a_warning_and_what_a_client_does_wrong_is_information(
    code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    lines.failed(exchange(), GatewayError(code), "error")
    (record,) = of(caplog)
    usual = code in ("relay.client_gone", "tunnel.client_lost", "choose.broken")
    fault = FAILURES[code].status >= 500 and not code.startswith("read.")
    assert record.levelno == (logging.DEBUG if usual else logging.WARNING if fault else logging.INFO)
    assert (record.code, record.facts["hint"]) == (code, FAILURES[code].hint)


def many(code: str) -> Exchange:
    x = exchange()
    for _ in range(LINES + 5):
        lines.failed(x, GatewayError(code), "error")
    return x


@pytest.mark.parametrize("code", ["match.no_route", "read.unknown_coding", "admit.connections", "tunnel.backpressure"])
def test_what_any_client_can_cause_is_bounded_and_counted(code: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    x = many(code)
    assert len(caplog.records) == LINES
    lines.tell_left_out(x.snapshot.line_limit, x.snapshot.line_limit.due)
    assert caplog.messages[-1] == f"{code}: 5 more within 10 s, which are not shown"
    assert (of(caplog)[-1].code, of(caplog)[-1].facts) == (code, {"left_out": 5})


def test_those_left_out_are_told_before_the_next_line_if_nobody_sweeps(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    x = many("match.no_route")
    x.snapshot.line_limit.clock = lambda due=x.snapshot.line_limit.due: due  # type: ignore[misc]
    lines.failed(x, GatewayError("match.no_route"), "error")
    assert caplog.messages[-2] == "match.no_route: 5 more within 10 s, which are not shown"
    assert caplog.messages[-1].startswith("match.no_route status=")


def test_failures_of_endpoints_are_all_written(caplog: pytest.LogCaptureFixture) -> None:
    many("connect.refused")
    assert len(caplog.records) == LINES + 5


def test_at_debug_all_are_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    many("match.no_route")
    assert len(caplog.records) == LINES + 5


# endpoints


@pytest.mark.parametrize("code", ["choose.no_endpoint", "choose.broken"])
def test_a_failure_to_choose_names_no_endpoint_of_an_earlier_try(code: str) -> None:
    x = exchange()
    x.endpoint = cast("Any", FakeEndpoint())
    assert facts_of(x, GatewayError(code))["endpoint"] is None


# what peers send


@given(st.text(max_size=50))
def test_no_text_ends_a_line_or_a_value(text: str) -> None:
    line = str(Facts(a=text, b="x"))
    assert "\n" not in line
    assert line.isprintable()
    assert re.fullmatch(r'a=([!#-<>-\[\]-~]+|"([^"\\]|\\.)*") b=x', line)


@given(st.text())
def test_a_printable_text_is_bounded_and_has_no_control_characters(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text, 5)) <= 6 * len("\\U0001f600")


def test_a_long_path_is_cut() -> None:
    x = exchange()
    x.path = b"/" + b"a" * 5000
    assert len(cast("str", facts_of(x)["path"])) == lines.MAX_PATH + 1


def test_a_path_in_utf8_is_shown_as_it_is_and_other_bytes_are_escaped() -> None:
    x = exchange()
    x.path = "/caf\u00e9".encode()
    assert facts_of(x)["path"] == "/café"
    x.path = b"/caf\xe9"
    assert facts_of(x)["path"] == "/caf\\xe9"


def test_a_detail_or_an_exception_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    lines.failed(exchange(), GatewayError("head.bad", log="\x1b[2J\n2026 ERROR forged"), "error")
    assert caplog.messages[0].startswith('head.bad detail="\\x1b[2J\\n2026 ERROR forged" status=- ')


def test_a_detail_cannot_pose_as_facts(caplog: pytest.LogCaptureFixture) -> None:
    lines.failed(exchange(), GatewayError("head.bad", 'x" status=200 client=10.0.0.1', log="y"), "error")
    assert caplog.messages[0].startswith(
        'head.bad detail="x\\" status=200 client=10.0.0.1: y" status=- response=error '
    )


@pytest.mark.parametrize(
    ("line", "method", "path"),
    [
        (b"GET /users/7?token=s3cret HTTP/1.1\r\nbad field: x", "GET", "/users/7"),
        (b"GET http://user:s3cret@a.example/x HTTP/1.1\r\n", "GET", None),
        (b"GET http://a.example/x@y HTTP/1.1\r\n", "GET", "http://a.example/x@y"),
        (b"Authorization: s3cret\r\n", None, None),
        (b"GET /half", "GET", "/half"),
        (b"\r\nGET /x HTTP/1.1\r\n", "GET", "/x"),
        (b"GET", "GET", None),
        (b"\x16\x03\x01\x02 s3cret \r\n", None, None),
        (b"GET /a\x1b[2J\r\n", "GET", "/a\\x1b[2J"),
        (b"", None, None),
    ],
)
def test_of_a_request_that_could_not_be_read_what_is_sure_is_told(
    line: bytes, method: str | None, path: str | None
) -> None:
    facts = refused(line)
    assert (facts["method"], facts["path"]) == (method, path)
    assert "s3cret" not in str(facts)


class Policy:
    def on_request(self, x: Exchange) -> None:
        """Do nothing."""


def test_code_is_named_with_its_module() -> None:
    assert name_of(refused) == f"{__name__}:refused"
    assert name_of(Policy()) == name_of(Policy) == f"{__name__}:Policy"
    assert name_of(partial(refused, b"")) == "functools:partial"
