"""A snapshot leads an exchange to its route and its endpoint."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from propylon.engine.errors import GatewayError
from propylon.engine.snapshot import ClientLimits, ClientTimeouts
from tests.support.fakes import exchange, snapshot


def test_a_match_fills_the_exchange() -> None:
    made = snapshot(rule={"paths": ("/users/{id}/*",)})
    x = exchange(made, path=b"/users/5/a/b")
    route = made.match(x)
    assert x.route is route is made.routes[0]
    assert (x.params, x.path_rest) == ({"id": "5"}, b"a/b")
    assert x.service is route.service


def test_host_and_port_take_part() -> None:
    made = snapshot(rule={"hosts": ("a.example:81",)})
    made.match(exchange(made, fields=b"host: A.example:81\r\n"))
    for fields in (b"host: a.example\r\n", b"host: b.example:81\r\n", b""):
        with pytest.raises(GatewayError):
            made.match(exchange(made, fields=fields))


def test_no_match_leaves_the_outside_and_says_which_methods_would_do() -> None:
    made = snapshot(rule={"paths": ("/known",), "methods": ("PUT", "GET")})
    x = exchange(made, path=b"/known", method=b"POST")
    with pytest.raises(GatewayError) as caught:
        made.match(x)
    assert (caught.value.code, caught.value.headers) == ("match.method", {"allow": "GET, HEAD, PUT"})
    assert x.route is made.outside
    with pytest.raises(GatewayError) as caught:
        made.match(exchange(made, path=b"/other"))
    assert caught.value.code == "match.no_route"


def test_it_does_not_change() -> None:
    made = snapshot()
    for thing, name in (
        (made, "routes"),
        (made.routes[0], "name"),
        (made.limits, "header_block"),
        (made.timeouts, "idle"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, name, None)


def test_defaults_are_those_of_the_documentation() -> None:
    assert ClientLimits() == ClientLimits(
        request_line=8192, header_block=32768, pipeline_buffer=65536, write_buffer=262144, connections=None
    )
    assert ClientTimeouts() == ClientTimeouts(
        header=10.0, keep_alive=75.0, write=60.0, body=60.0, linger=5.0, drain=float("inf")
    )


def test_an_exchange_begins_without_fields() -> None:
    made = snapshot()
    assert made.no_fields.visible == ()
    assert made.no_fields.length == -1
