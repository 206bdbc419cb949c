"""What a provider found: bad endpoints are left out with a sentence, good ones come once and in a steady order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.services.discovery import EndpointSpec
from propylon.services.endpoint_list import MAX_ENDPOINTS, Checker, changes, shown

URLS = [f"http://10.0.0.{number}:80{path}" for number in range(1, 4) for path in ("", "/base")]
FOUND = st.builds(
    EndpointSpec,
    url=st.sampled_from(URLS),
    weight=st.integers(0, 1000),
    priority=st.integers(0, 3),
    zone=st.sampled_from([None, "a", "b"]),
)


def checked(*listed: object) -> tuple[EndpointSpec, ...]:
    found, problems = Checker().check(listed)
    assert problems == []
    return found


def test_good_endpoints_come_in_the_order_of_tiers_and_urls() -> None:
    far, near, other = (
        EndpointSpec("http://a.test:80", priority=1),
        EndpointSpec("http://c.test"),
        EndpointSpec("http://b.test"),
    )
    assert checked(far, near, other) == (other, near, EndpointSpec("http://a.test", priority=1))


def test_one_address_in_two_spellings_is_one_endpoint() -> None:
    assert checked(EndpointSpec("HTTP://Users.test:80"), EndpointSpec("http://users.test")) == (
        EndpointSpec("http://users.test"),
    )


def test_an_ipv6_address_keeps_its_brackets_and_a_socket_its_path() -> None:
    assert checked(EndpointSpec("http://[::1]:8080"), EndpointSpec("unix:/run/a.sock")) == (
        EndpointSpec("http://[::1]:8080"),
        EndpointSpec("unix:/run/a.sock"),
    )


def test_of_doubles_the_lowest_tier_and_then_the_highest_weight_counts() -> None:
    url = "http://a.test"
    assert checked(EndpointSpec(url, 9, 1), EndpointSpec(url, 2), EndpointSpec(url, 3)) == (EndpointSpec(url, 3),)


@given(st.lists(FOUND, max_size=12), st.randoms())
def test_a_shuffled_list_is_the_same_list(listed: list[EndpointSpec], order: random.Random) -> None:
    shuffled = list(listed)
    order.shuffle(shuffled)
    assert Checker().check(listed) == Checker().check(shuffled)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (EndpointSpec("10.0.0.1:80"), "no scheme"),
        (EndpointSpec("http://user:pw@10.0.0.1"), "user name or password"),
        (EndpointSpec("ftp://10.0.0.1"), "ftp"),
        (EndpointSpec("http://" + "a" * 2000), "no URL of at most"),
        (EndpointSpec("http://a.test", weight=-1), "weight -1"),
        (EndpointSpec("http://a.test", weight=1001), "weight 1001"),
        (EndpointSpec("http://a.test", weight=True), "weight True"),
        (EndpointSpec("http://a.test", priority=-1), "priority -1"),
        (EndpointSpec("http://a.test", zone=""), "zone ''"),
        (EndpointSpec("http://a.test", zone="a\nb"), "zone"),
        (EndpointSpec(None), "None is no URL"),  # type: ignore[arg-type]
        ("http://a.test", "is no EndpointSpec"),
    ],
)
def test_a_bad_endpoint_is_left_out_and_no_good_one_with_it(bad: object, says: str) -> None:
    found, problems = Checker().check([bad, EndpointSpec("http://good.test")])
    assert found == (EndpointSpec("http://good.test"),)
    assert len(problems) == 1
    assert says in problems[0]
    assert len(problems[0]) < 400


def test_a_checker_is_as_strict_with_the_second_list() -> None:
    checker = Checker()
    checker.check([EndpointSpec("http://A.test")])
    assert checker.check([EndpointSpec("http://A.test", weight=2), EndpointSpec("nonsense")])[0] == (
        EndpointSpec("http://a.test", 2),
    )


def test_the_number_of_endpoints_is_bounded_and_the_same_ones_are_kept() -> None:
    many = [EndpointSpec(f"http://10.{n >> 16}.{n >> 8 & 255}.{n & 255}:80") for n in range(MAX_ENDPOINTS + 5)]
    found, problems = Checker().check(many)
    assert len(found) == MAX_ENDPOINTS
    assert problems == ["only 10000 of the endpoints are used"]
    assert Checker().check(reversed(many))[0] == found


def test_an_endless_list_ends() -> None:
    def endless() -> object:
        while True:
            yield EndpointSpec("http://a.test")

    assert Checker().check(endless())[0] == (EndpointSpec("http://a.test"),)  # type: ignore[arg-type]


def test_changes_are_said_in_words() -> None:
    old = (EndpointSpec("http://10.0.0.1"), EndpointSpec("http://10.0.0.2"), EndpointSpec("http://10.0.0.4", zone="a"))
    new = (
        EndpointSpec("http://10.0.0.2", weight=3, priority=1),
        EndpointSpec("http://10.0.0.3"),
        EndpointSpec("http://10.0.0.4"),
    )
    assert changes(old, new) == (
        "+http://10.0.0.3, -http://10.0.0.1, "
        "http://10.0.0.2 weight 1 -> 3, priority 0 -> 1, http://10.0.0.4 zone a -> None"
    )


def test_many_changes_make_a_line_of_bounded_length() -> None:
    said = changes((), [EndpointSpec(f"http://{'x' * 200}{number}.test") for number in range(500)])
    assert said.endswith(" and 480 more changes")
    assert len(said) < 3000


@given(st.text(max_size=500))
def test_what_is_shown_of_others_is_one_printable_line(text: str) -> None:
    line = shown(text, 80)
    assert len(line) <= 80
    assert line.isprintable()
