"""Accept-Encoding: weights, wildcards and what is to be ignored."""

from __future__ import annotations

import pytest

from propylon.http.accept import accepted_codings, preferred


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, {}),
        ("", {}),
        ("gzip", {"gzip": 1.0}),
        ("GZIP, x-gzip;q=0.5", {"gzip": 0.5}),
        (" br ; q=0.25 ,*;Q=0", {"br": 0.25, "*": 0.0}),
        ("br;q=1.000", {"br": 1.0}),
        ("br;q=2, gzip;q=0.1234, @, zstd", {"zstd": 1.0}),
    ],
)
def test_codings(value: str | None, found: dict[str, float]) -> None:
    assert accepted_codings(value) == found


@pytest.mark.parametrize(
    ("value", "order"),
    [
        ("gzip, br", ["br", "gzip"]),
        ("gzip;q=0.9, br;q=0.8", ["gzip", "br"]),
        ("*", ["br", "gzip"]),
        ("*, br;q=0", ["gzip"]),
        ("identity", []),
        (None, []),
    ],
)
def test_the_clients_preference_comes_first(value: str | None, order: list[str]) -> None:
    assert preferred(value, ("br", "gzip")) == order
