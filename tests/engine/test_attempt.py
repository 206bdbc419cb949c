"""An attempt, and what follows when it comes to nothing: another endpoint, within bounds, or the failure itself."""

from __future__ import annotations

from typing import Any, cast

from propylon.engine.attempt import Attempt
from tests.support.fakes import FakeEndpoint, exchange, fake_service


def test_what_an_attempt_changes_stays_with_the_attempt() -> None:
    x = exchange(fields=b"host: a\r\nx-a: 1\r\n")
    endpoint = FakeEndpoint()

    def attempt() -> Attempt:
        return Attempt(x, fake_service(endpoint), cast("Any", endpoint))

    first = attempt()
    assert first.looked_at is None  # so nothing has to be rendered anew
    first.headers.set("x-a", "2")
    assert first.looked_at is first.headers
    assert attempt().headers["x-a"] == "1"
    x.request.headers.set("x-b", "3")
    third = attempt()
    third.headers.remove("x-b")
    assert x.request.headers["x-b"] == "3"
    assert x.fields.visible == ((b"host", b"a"), (b"x-a", b"1"))
