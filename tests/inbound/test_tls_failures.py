"""Failures of TLS: exact counts, few lines."""

from __future__ import annotations

import logging
import ssl

import pytest

from propylon.inbound.tls_failures import EXPLAINED, LOG_SECONDS, TlsFailures, cause_of
from tests.support.fakes import Clock


def test_a_cause_is_logged_at_once_and_then_once_a_minute_with_its_count(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(monkeypatch)
    failures = TlsFailures("192.0.2.1:443", clock)
    with caplog.at_level(logging.INFO):
        for _ in range(1000):
            failures.count("timeout")
        failures.count("plain_http")
        failures.count("no_shared_cipher")
        assert [record.getMessage() for record in caplog.records] == [
            "192.0.2.1:443: the handshake was not over in time",
            "192.0.2.1:443: the client spoke plain HTTP and was told to use https",
            "192.0.2.1:443: OpenSSL says: no shared cipher",
        ]
        caplog.clear()
        clock.now += LOG_SECONDS
        failures.count("timeout")
        failures.count("timeout")
    assert [record.getMessage() for record in caplog.records] == [
        "192.0.2.1:443: the handshake was not over in time (1000 times)"
    ]
    assert failures.counts == {"timeout": 1002, "plain_http": 1, "no_shared_cipher": 1}


def test_clients_that_just_close_are_counted_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    failures = TlsFailures("listener")
    with caplog.at_level(logging.DEBUG):
        failures.count("truncated")
    assert failures.counts == {"truncated": 1}
    assert caplog.records == []


@pytest.mark.parametrize(
    ("reason", "cause"),
    [("WRONG_VERSION_NUMBER", "bad_record"), ("NO_SHARED_CIPHER", "no_shared_cipher"), (None, "unknown")],
)
def test_the_cause_of_an_error_is_openssl_s_reason(reason: str | None, cause: str) -> None:
    error = ssl.SSLError(1, "text")
    error.reason = reason  # type: ignore[assignment]
    assert cause_of(error) == cause


def test_every_explanation_is_a_clause() -> None:
    assert all(text[0].islower() and not text.endswith(".") for text in EXPLAINED.values())
