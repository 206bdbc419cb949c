"""From `split:` to the variants of a route: services, policies and what picks them arrive."""

from __future__ import annotations

from typing import Any

import pytest

from propylon import Gateway
from propylon.build.snapshot import build_snapshot
from propylon.config.load import validate
from propylon.config.schema import GatewayConfig
from propylon.engine.snapshot import Snapshot
from propylon.engine.split import Split, StickyCookie
from propylon.testing import TestClient

SERVICES: dict[str, Any] = {
    "v1": {"endpoints": ["http://10.0.0.1:1"], "policies": [{"headers": {"request": {"set": {"x-to": "v1"}}}}]},
    "v2": {"endpoints": ["http://10.0.0.2:1"], "policies": [{"timeout": "1s"}, "request_id"]},
}


def built(split: dict[str, Any], **route: Any) -> Snapshot:
    routes = [{"path": "/a/*", "split": split, **route}]
    return build_snapshot(validate({"services": SERVICES, "routes": routes, "policies": [{"body_limit": 5}]}))


def split_of(made: Snapshot) -> Split:
    found = made.routes[0].split
    assert found is not None
    return found


def test_each_variant_has_the_policies_of_the_gateway_its_service_and_the_route_in_this_order() -> None:
    made = built({"services": {"v1": 9, "v2": 1}}, policies=[{"timeout": "2s"}])
    v1, v2 = (share.route for share in split_of(made).shares)
    assert [use.name for use in v1.policies] == ["body_limit", "headers", "timeout"]
    assert [use.name for use in v2.policies] == ["body_limit", "timeout", "request_id", "timeout"]
    assert v1.policies[-1] is v2.policies[-1]  # a policy of the route counts for all of it
    assert (v1.service, v2.service) == (made.services["v1"], made.services["v2"])
    assert [use.name for use in made.routes[0].policies] == ["body_limit", "timeout"]
    assert made.routes[0].service is None


def test_each_variant_has_everything_else_of_the_route() -> None:
    keys = {"name": "all", "strip": "/a", "websocket": "refuse", "retry": 5, "fallback": {"service": "v1"}}
    made = built({"services": {"v1": 1, "v2": 1}}, **keys)
    for variant in (share.route for share in split_of(made).shares):
        assert variant.name == "all"
        assert variant.rewrite is not None
        assert variant.refuses_websockets
        assert variant.retry is not None
        assert variant.retry.attempts == 5
        assert variant.fallback is not None
        assert variant.fallback.service is made.services["v1"]
        assert variant.split is None


@pytest.mark.parametrize(
    ("sticky", "name", "cookie"),
    [
        ({"cookie": "stay"}, "cookie stay", StickyCookie("stay")),
        ({"cookie": "stay", "max_age": "1h"}, "cookie stay", StickyCookie("stay", 3600)),
        ({"cookie": "stay", "max_age": "none"}, "cookie stay", StickyCookie("stay")),
        ({"header": "X-User"}, "header x-user", None),
        ({"client": True}, "client address", None),
    ],
)
def test_what_it_sticks_by_arrives(sticky: dict[str, Any], name: str, cookie: StickyCookie | None) -> None:
    made = split_of(built({"services": {"v1": 1}, "sticky": sticky}))
    assert (str(made.sticky), made.cookie) == (name, cookie)


def test_what_may_name_a_service_arrives() -> None:
    assert str(split_of(built({"services": {"v1": 1}, "choose": {"header": "X-V"}})).choose) == "header x-v"
    assert str(split_of(built({"services": {"v1": 1}, "choose": {"cookie": "v"}})).choose) == "cookie v"
    plain = split_of(built({"services": {"v1": 7, "v2": 3}}))
    assert (plain.choose, plain.sticky, plain.shown()) == (None, None, ["v1 70%", "v2 30%"])


def test_every_client_gets_a_cookie_of_its_own() -> None:
    gateway = Gateway(
        services=SERVICES, routes=[{"path": "/*", "split": {"services": {"v1": 1}, "sticky": {"cookie": "stay"}}}]
    )
    client = TestClient(gateway)
    found = {client.get("/").headers["set-cookie"] for _ in range(2)}
    assert len(found) == 2
    assert all(len(cookie.partition(";")[0]) == len("stay=") + 32 for cookie in found)


def test_a_service_with_on_message_is_a_variant_like_any_other() -> None:
    class Looks:
        def on_message(self, *_: Any) -> None:
            pass

    services = {"v1": SERVICES["v1"], "v2": {"endpoints": ["http://10.0.0.2:1"], "policies": [Looks()]}}
    made = build_snapshot(
        validate({"services": services, "routes": [{"path": "/", "split": {"services": {"v1": 1, "v2": 1}}}]})
    )
    assert [bool(share.route.pipeline.on_message) for share in split_of(made).shares] == [False, True]


def test_it_is_a_key_of_the_schema() -> None:
    assert "split" in str(GatewayConfig.model_json_schema())
