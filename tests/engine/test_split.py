"""Shares of a route: who goes where by name, by what it sticks to, and by chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.pipeline import PolicyUse, compile_pipeline
from propylon.engine.snapshot import CompiledRoute, Snapshot
from propylon.engine.split import Luck, Share, Split, StickyCookie
from propylon.http.forwarded import Origin
from propylon.routing.key import BY_CLIENT, Key, by_cookie, by_header
from tests.support.fakes import FakeClient, FakeEndpoint, FakeUpstream, exchange, fake_service, snapshot
from tests.support.frames import SWITCH
from tests.support.tunnels import HANDSHAKE

CLIENTS = [b"198.51.100.%d/%d" % (number % 256, number) for number in range(4000)]
HEADER = by_header("X-User")
COOKIE = StickyCookie("stay")
VERSION = by_header("x-version")
PLAIN = snapshot()


def drawn(*values: float) -> Callable[[], float]:
    """Luck that gives these values, and fails when it is asked for more."""
    left = iter(values)
    return lambda: next(left)


def split(
    weights: dict[str, int],
    *,
    choose: Key | None = None,
    sticky: Key | StickyCookie | None = None,
    random: Callable[[], float] | None = None,
) -> Split:
    """A split whose variants have the names of their services."""
    ids = count(1)
    shares = [Share(name, weight, CompiledRoute(name)) for name, weight in weights.items()]
    return Split(shares, choose, sticky, Luck(random or drawn(), lambda: b"id%d" % next(ids)))


def asking(fields: bytes = b"", address: bytes = b"192.0.2.1") -> Exchange:
    x = exchange(PLAIN, fields=b"host: a.example\r\n" + fields)
    x._origin = Origin(address, b"http", b"a.example", b"")
    return x


def went(made: Split, values: Iterable[bytes] = CLIENTS) -> list[str]:
    """Where each value sticks."""
    return [made.pick(asking(b"x-user: %b\r\n" % value)).name for value in values]


# chance


@pytest.mark.parametrize(
    ("value", "name"), [(0.0, "v1"), (0.899, "v1"), (0.9, "v2"), (0.999999, "v2")]
)  # fmt: skip
def test_chance_gives_each_service_its_share(value: float, name: str) -> None:
    assert split({"v1": 90, "v2": 10}, random=drawn(value)).pick(asking()).name == name


def test_a_service_of_weight_0_gets_nothing_by_chance_and_nothing_sticks_to_it() -> None:
    for value in (0.0, 0.5, 1 - 2**-53):
        assert split({"a": 0, "v": 3, "z": 0}, random=drawn(value)).pick(asking()).name == "v"
    assert set(went(split({"a": 0, "v": 3, "z": 0}, sticky=HEADER))) == {"v"}


def test_somebody_has_to_serve() -> None:
    with pytest.raises(ValueError, match="above 0"):
        split({"a": 0, "b": 0})


# what sticks


def test_the_same_value_goes_to_the_same_service_and_each_gets_its_share() -> None:
    made = split({"v1": 90, "v2": 10}, sticky=HEADER)
    first = went(made)
    assert first == went(made) == went(split({"v1": 900, "v2": 100}, sticky=HEADER))
    assert 0.08 < Counter(first)["v2"] / len(first) < 0.12


def test_the_same_in_every_process_and_in_every_order_of_the_file() -> None:
    """The values are fixed here: a change of the rule would send all clients somewhere else at an upgrade."""
    values = [b"ada", b"bob", b"eve", b"192.0.2.7", b"\xff", b"mallory", b"trent", b"peggy"]
    told = went(split({"v2": 50, "v1": 50}, sticky=HEADER), values)
    assert told == went(split({"v1": 50, "v2": 50}, sticky=HEADER), values)
    assert told == ["v2", "v2", "v2", "v1", "v1", "v1", "v1", "v2"]


def moves(before: dict[str, int], after: dict[str, int]) -> Counter[tuple[str, str]]:
    """Who moved from where to where, as a share of all."""
    old, new = went(split(before, sticky=HEADER)), went(split(after, sticky=HEADER))
    return Counter((a, b) for a, b in zip(old, new, strict=True) if a != b)


def test_a_change_of_weights_moves_only_the_share_and_only_one_way() -> None:
    found = moves({"v1": 90, "v2": 10}, {"v1": 80, "v2": 20})
    assert set(found) == {("v1", "v2")}
    assert 0.08 < sum(found.values()) / len(CLIENTS) < 0.12


def test_a_service_that_comes_takes_its_share_and_nothing_else_moves() -> None:
    found = moves({"v1": 60, "v2": 20}, {"v1": 60, "v2": 20, "v3": 20})
    assert set(found) == {("v1", "v3"), ("v2", "v3")}
    assert 0.17 < sum(found.values()) / len(CLIENTS) < 0.23


def test_one_that_goes_gives_its_share_to_the_others() -> None:
    assert {old for old, _ in moves({"v1": 60, "v2": 20, "v3": 20}, {"v1": 60, "v2": 20})} == {"v3"}


def test_it_sticks_by_the_clients_address() -> None:
    made = split({"v1": 50, "v2": 50}, sticky=BY_CLIENT)
    found = {address: made.pick(asking(address=address)).name for address in CLIENTS[:50]}
    assert set(found.values()) == {"v1", "v2"}
    assert all(made.pick(asking(address=address)).name == name for address, name in found.items())


@pytest.mark.parametrize(
    ("sticky", "fields", "address"),
    [(HEADER, b"", b"1"), (HEADER, b"x-user: \r\n", b"1"), (BY_CLIENT, b"", b"")],
)
def test_what_has_nothing_to_stick_by_goes_by_chance(sticky: Key, fields: bytes, address: bytes) -> None:
    made = split({"v1": 50, "v2": 50}, sticky=sticky, random=drawn(0.1, 0.9))
    assert [made.pick(asking(fields, address)).name for _ in range(2)] == ["v1", "v2"]


# the cookie


@pytest.mark.parametrize("fields", [b"", b"cookie: other=1\r\n", b"cookie: stay=\r\n"])
def test_a_client_without_the_cookie_is_given_one_that_leads_to_the_same_service(fields: bytes) -> None:
    made = split({"v1": 50, "v2": 50}, sticky=COOKIE)
    for number in range(1, 20):
        x = asking(fields)
        name = made.pick(x).name
        assert x.extra_fields == b"set-cookie: stay=id%d; Path=/; HttpOnly; SameSite=Lax\r\n" % number
        again = asking(b"cookie: a=b; stay=id%d\r\n" % number)
        assert made.pick(again).name == name
        assert again.extra_fields == b""


def test_the_cookie_has_an_age_and_is_secure_behind_https() -> None:
    made = split({"v1": 1}, sticky=replace(COOKIE, max_age=3600))
    x = asking()
    x._origin = Origin(b"192.0.2.1", b"https", b"a.example", b"")
    made.pick(x)
    assert x.extra_fields == b"set-cookie: stay=id1; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax; Secure\r\n"


# what is named


def test_a_request_may_name_its_service_even_one_of_weight_0() -> None:
    made = split({"v1": 1, "v2": 0}, choose=VERSION, sticky=COOKIE)
    x = asking(b"x-version: v2\r\ncookie: stay=1\r\n")
    assert made.pick(x).name == "v2"
    assert x.extra_fields == b""


@pytest.mark.parametrize("value", [b"", b"v3", b"V2", b"v2,v2", b"\xff"])
def test_what_names_no_service_is_ignored(value: bytes) -> None:
    made = split({"v1": 1, "v2": 0}, choose=VERSION, random=drawn(0.5))
    assert made.pick(asking(b"x-version: %b\r\n" % value)).name == "v1"


def test_a_cookie_may_name_it_too() -> None:
    made = split({"v1": 1, "v2": 0}, choose=by_cookie("version"))
    assert made.pick(asking(b"cookie: version=v2\r\n")).name == "v2"


# what is told beforehand


def test_it_tells_what_decides_without_deciding() -> None:
    made = split({"v1": 2, "v2": 1}, choose=VERSION, sticky=COOKIE)
    share, reason = made.foresee(asking(b"x-version: v2\r\n"))
    assert (share and share.name, reason) == ("v2", "named by header x-version")
    share, reason = made.foresee(asking(b"cookie: stay=1\r\n"))
    assert (share and share.name, reason) == (made.pick(asking(b"cookie: stay=1\r\n")).name, "sticky by cookie stay")
    x = asking()
    assert made.foresee(x) == (None, "by chance")
    assert x.extra_fields == b""
    assert made.shown() == ["v1 66.67%", "v2 33.33%"]


# in an exchange


class Marks:
    """A service's own policy."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def on_request(self, x: Exchange) -> None:
        x.request.headers.set("x-mark", self.mark)


def of_two(one: FakeUpstream, two: FakeUpstream, **route: Any) -> Snapshot:
    """A route split in two, each half with a policy of its own; the header x-version names one."""
    shares = []
    for name, upstream in (("v1", one), ("v2", two)):
        uses = [PolicyUse("marks", Marks(name))]
        made = CompiledRoute("all", compile_pipeline(uses), tuple(uses), fake_service(FakeEndpoint(upstream)), **route)
        shares.append(Share(name, 1, made))
    luck = Luck(drawn(), lambda: b"new")
    return snapshot(route={"service": None, "split": Split(shares, VERSION, COOKIE, luck), **route})


def test_an_exchange_has_the_route_the_service_and_the_policies_of_its_share() -> None:
    one, two, client = FakeUpstream(), FakeUpstream(), FakeClient()
    made = of_two(one, two)
    x = exchange(made, client=client, fields=b"host: a\r\nx-version: v2\r\n")
    x.start(forward(x))
    split = made.routes[0].split
    assert split is not None
    assert x.route is split.shares[1].route
    assert x.service is x.route.service
    assert b"x-mark: v2\r\n" in two.block
    assert one.sent == []
    two.answer()
    assert client.names == ["send"]


def test_the_answer_carries_the_cookie() -> None:
    one, two, client = FakeUpstream(), FakeUpstream(), FakeClient()
    x = exchange(of_two(one, two), client=client)
    x.start(forward(x))
    (one if one.sent else two).answer()
    assert client.heads[0][1].count(b"set-cookie: stay=new; Path=/; HttpOnly; SameSite=Lax\r\n") == 1


def test_a_websocket_goes_to_its_share_and_its_101_carries_the_cookie() -> None:
    one, two, client = FakeUpstream(), FakeUpstream(), FakeClient()
    x = exchange(of_two(one, two), client=client, fields=HANDSHAKE)
    x.start(forward(x))
    (one if one.sent else two).open(SWITCH)
    assert client.calls[0][0] == "switch"
    assert b"set-cookie: stay=new" in client.calls[0][2]


def test_websockets_are_refused_where_the_route_says_so() -> None:
    made = of_two(FakeUpstream(), FakeUpstream(), refuses_websockets=True)
    with pytest.raises(GatewayError) as caught:
        made.match(exchange(made, fields=HANDSHAKE))
    assert caught.value.code == "upgrade.refused"
