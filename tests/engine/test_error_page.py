"""What a client reads when the gateway itself answers: in the form it asked for, and nothing internal."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.engine.error_page import render_error
from propylon.engine.errors import GatewayError
from propylon.engine.response import Response
from propylon.engine.snapshot import ErrorPage
from propylon.failures import FAILURES
from tests.support.fakes import exchange, snapshot


def rendered(
    error: GatewayError | None = None, accept: list[bytes] | None = None, pages: dict[str, ErrorPage] | None = None
) -> Response:
    fields = b"host: a\r\n" + b"".join(b"accept: %b\r\n" % value for value in accept or [])
    x = exchange(snapshot(error_pages=pages or {}), fields=fields)
    return render_error(x, error or GatewayError("read.bad_host", "why <b>"))


def kind(response: Response) -> str:
    return response.headers["content-type"].partition(";")[0]


def test_rfc9457_problem_details_are_the_default() -> None:
    response = rendered()
    assert kind(response) == "application/problem+json"
    assert orjson.loads(response.content) == {  # type: ignore[arg-type]
        "type": "urn:propylon:read.bad_host",
        "title": FAILURES["read.bad_host"].title,
        "status": 400,
        "detail": "why <b>",
        "code": "read.bad_host",
        "request_id": "id-1",
    }
    assert response.status == 400
    assert response.headers["cache-control"] == "no-store"


def test_a_problem_without_detail_has_none() -> None:
    assert "detail" not in orjson.loads(rendered(GatewayError("match.no_route")).content)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([], "application/problem+json"),
        ([b"*/*"], "application/problem+json"),
        ([b"application/json"], "application/problem+json"),
        ([b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], "text/html"),
        ([b"TEXT/HTML"], "text/html"),
        ([b"text/plain"], "text/plain"),
        ([b"text/html;q=0.5, text/plain"], "text/plain"),
        ([b"text/plain;q=0.5", b"text/html;q=0.6"], "text/html"),
        ([b"text/html;q=0"], "application/problem+json"),
        ([b"text/html;q=0.000, */*"], "application/problem+json"),
        ([b"image/png"], "application/problem+json"),
        ([b"text/html ; level=1 ; q = 0.9"], "text/html"),
        ([b"text/html;q=x"], "text/html"),
        ([b"text/html;q=."], "text/html"),
        ([b"text/html;q="], "text/html"),
        ([b""], "application/problem+json"),
    ],
)
def test_rfc9110_12_5_1_the_accept_field_chooses_the_form(accept: list[bytes], expected: str) -> None:
    assert kind(rendered(accept=accept)) == expected


@given(st.lists(st.from_regex(rb"[a-z*/;=q0-9., \t\"-]{0,30}", fullmatch=True), max_size=3))
def test_any_accept_field_gets_an_answer(accept: list[bytes]) -> None:
    assert kind(rendered(accept=accept)) in ("application/problem+json", "text/html", "text/plain")


def test_html_is_escaped() -> None:
    content = rendered(GatewayError("read.bad_field", "<script>\"'&"), [b"text/html"]).content
    assert isinstance(content, bytes)
    assert b"<script>" not in content
    assert b"&lt;script&gt;&quot;&#x27;&amp;" in content
    assert b"id-1" in content
    assert b"read.bad_field" in content


def test_braces_in_a_detail_are_only_text() -> None:
    content = rendered(GatewayError("read.bad_field", "{status} {0} {"), [b"text/html"]).content
    assert isinstance(content, bytes)
    assert b"{status} {0} {" in content


def test_plain_text_has_a_line_each() -> None:
    assert rendered(accept=[b"text/plain"]).content == (
        b"400 Malformed Host\nwhy <b>\ncode: read.bad_host\nrequest: id-1\n"
    )


@pytest.mark.parametrize("accept", [b"text/html", b"text/plain", b"*/*"])
@pytest.mark.parametrize("code", FAILURES)
def test_what_is_for_the_log_is_never_shown(accept: bytes, code: str) -> None:
    content = rendered(GatewayError(code, log="10.0.0.7 Traceback s3cret"), [accept]).content
    assert isinstance(content, bytes)
    assert b"s3cret" not in content
    assert FAILURES[code].hint.encode() not in content


def test_a_status_wins_over_its_class_and_both_over_accept() -> None:
    pages = {"404": ErrorPage(b"mine", "text/html"), "4xx": ErrorPage(b"any", "text/plain; charset=utf-8")}
    response = rendered(GatewayError("match.no_route"), [b"application/json"], pages)
    assert (response.status, response.content, kind(response)) == (404, b"mine", "text/html")
    assert rendered(pages=pages).content == b"any"
    assert kind(rendered(GatewayError("head.bad"), pages=pages)) == "application/problem+json"


def test_fields_of_the_error_are_on_the_answer() -> None:
    response = rendered(GatewayError("match.method", headers={"allow": "GET"}))
    assert response.headers["allow"] == "GET"
