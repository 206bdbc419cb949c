"""A service chooses its endpoints by exact shares, without bursts."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.engine.errors import GatewayError
from propylon.outbound.address import AddressError
from propylon.services.service import Endpoint, Service, ServiceSettings


def endpoint(url: str, weight: int = 1, settings: ServiceSettings | None = None) -> Endpoint:
    return Endpoint(url, weight, settings or ServiceSettings(), cast("Any", None))


def service(*weights: int) -> Service:
    return Service("s", [endpoint(f"http://10.0.0.{number}:80", weight) for number, weight in enumerate(weights)])


def choices(made: Service, count: int) -> list[int]:
    return [made.endpoints.index(made.choose()) for _ in range(count)]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any), st.integers(0, 30))
def test_shares_are_exact_in_every_round_wherever_it_begins(weights: list[int], skipped: int) -> None:
    made = service(*weights)
    choices(made, skipped)
    counts = Counter(choices(made, sum(weights)))
    if skipped % sum(weights) == 0:
        assert [counts[number] for number in range(len(weights))] == weights
    total = Counter(choices(made, 3 * sum(weights)))
    assert [total[number] for number in range(len(weights))] == [3 * weight for weight in weights]


def test_the_heavy_one_is_not_chosen_in_bursts() -> None:
    assert choices(service(5, 1, 1), 7) == [0, 0, 1, 0, 2, 0, 0]


def test_equal_weights_take_turns() -> None:
    assert choices(service(3, 3, 3), 6) == [0, 1, 2, 0, 1, 2]


def test_an_endpoint_of_weight_zero_is_chosen_by_nobody() -> None:
    assert choices(service(0, 1, 0), 3) == [1, 1, 1]
    assert set(choices(service(0, 2, 1), 9)) == {1, 2}


@pytest.mark.parametrize("weights", [(), (0,), (0, 0)])
def test_a_service_without_weight_has_no_endpoint(weights: tuple[int, ...]) -> None:
    with pytest.raises(GatewayError) as caught:
        service(*weights).choose()
    assert (caught.value.code, caught.value.status) == ("choose.no_endpoint", 503)


def test_an_endpoint_is_found_by_the_url_it_was_configured_with() -> None:
    made = service(1, 0)
    assert made.endpoint("http://10.0.0.1:80") is made.endpoints[1]
    with pytest.raises(ValueError, match=r"service s has no endpoint 'http://10\.0\.0\.9:80'"):
        made.endpoint("http://10.0.0.9:80")


def test_an_endpoint_knows_what_its_url_says() -> None:
    made = endpoint("http://Api.Example:3001/base/", settings=ServiceSettings(host=b"fixed"))
    assert (made.authority.lower(), made.base_path, made.host) == (b"api.example:3001", b"/base", b"fixed")
    assert repr(made) == "<Endpoint http://Api.Example:3001/base/ <Pool open=0 idle=0 waiting=0>>"
    with pytest.raises(AddressError):
        endpoint("ftp://a")
