"""The `hsts` policy: over https only."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from propylon import Gateway, Response
from propylon.policies.hsts import Config
from propylon.testing import TestClient

ALL = "max-age=31536000; includeSubDomains"


def answered(settings: object, scheme: str, service: dict[str, str] | None = None, **options: object) -> str | None:
    gateway = Gateway(trusted_proxies=["10.0.0.0/8"], policies=[{"hsts": settings}])
    gateway.route("/*", target="http://service.test")
    client = TestClient(gateway, {"http://service.test": Response(200, headers=service or {})}, scheme=scheme)
    return client.get("/", **options).headers.get("strict-transport-security")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ALL),
        ({"max_age": "1h", "subdomains": False}, "max-age=3600"),
        ({"max_age": 0}, "max-age=0; includeSubDomains"),
        ({"preload": True}, f"{ALL}; preload"),
    ],
)
def test_it_is_set_over_https(settings: dict[str, object], expected: str) -> None:
    assert answered(settings, "https") == expected


def test_over_plain_http_it_is_not_sent_even_if_the_service_does() -> None:
    assert answered({}, "http") is None
    assert answered({}, "http", {"strict-transport-security": "max-age=1"}) is None


def test_the_gateway_s_word_stands_before_the_service_s() -> None:
    assert answered({}, "https", {"strict-transport-security": "max-age=1"}) == ALL


def test_a_trusted_proxy_may_say_that_it_was_https() -> None:
    told = {"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.7"}
    assert answered({}, "http", headers=told, client="10.0.0.1") == ALL
    assert answered({}, "http", headers=told, client="192.0.2.1") is None


@pytest.mark.parametrize("data", [{"preload": True, "max_age": "1d"}, {"preload": True, "subdomains": False}])
def test_preload_asks_for_what_the_lists_ask_for(data: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="'preload' needs"):
        Config.model_validate(data)
