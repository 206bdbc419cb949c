"""The `websocket` policy: who may open one, how many, and that each setting arrives."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.scope import Scope
from propylon.engine.websocket.settings import Reconnect, TunnelSettings
from propylon.http.frames import FrameLimits
from propylon.policies.websocket import Config, Policy
from tests.support.fakes import exchange
from tests.support.tunnels import HANDSHAKE, Relay

PAGE = b"host: a.example\r\n"


def policy(**config: Any) -> Policy:
    return Policy(Config.model_validate(config), Scope())


def asked(made: Policy, origin: str | None = None, block: bytes = HANDSHAKE) -> Exchange:
    if origin is not None:
        block += b"origin: %b\r\n" % origin.encode()
    x = exchange(fields=block)
    made.on_request(x)
    return x


def allowed(made: Policy, origin: str) -> bool:
    try:
        asked(made, origin)
    except GatewayError as error:
        if error.code != "upgrade.origin":
            raise
        return False
    return True


def test_the_defaults_are_those_of_the_engine() -> None:
    assert asked(policy()).tunnel_settings == TunnelSettings()


def test_each_setting_arrives() -> None:
    made = policy(
        ping="10s", pong_timeout="3s", max_frame="1KiB", max_message="1MiB", max_buffered="2MiB", max_age="12h",
        reconnect={"attempts": 7, "interval": "250ms", "decay": 2},
    )  # fmt: skip
    assert asked(made).tunnel_settings == TunnelSettings(
        ping=10.0,
        pong_timeout=3.0,
        limits=FrameLimits(1024, 1024 * 1024),
        max_buffered=2 * 1024 * 1024,
        max_age=43200.0,
        reconnect=Reconnect(attempts=7, interval=0.25, decay=2.0),
    )
    off = policy(ping="none", max_age="none", max_frame=0, max_message=0, max_buffered="none", max_connections=0)
    assert asked(off).tunnel_settings == TunnelSettings(ping=None)
    assert asked(policy(reconnect={})).tunnel_settings == TunnelSettings(reconnect=Reconnect())


def test_a_request_that_is_no_handshake_passes_untouched() -> None:
    made = policy(origins=["https://a.example"], max_connections=1)
    for _ in range(3):
        x = asked(made, "https://evil.example", PAGE)
        assert x.tunnel_settings is None
    assert asked(made, "https://a.example").tunnel_settings is not None


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("https://a.example", ["https://a.example", "HTTPS://A.example"],
         ["https://b.a.example", "https://a.example.evil", "http://a.example", "https://a.example:444", "https://a-example",
          "https://a.example/", "https://a.example\thttps://evil", "null", ""]),
        ("https://*.a.example", ["https://b.a.example", "https://c.b.a.example"],
         ["https://a.example", "https://.a.example", "https://evila.example", "https://b.a.example.evil",
          "https://evil/.a.example", "https://evil@b.a.example", "https://b..a.example"]),
        ("http://a.example:8080", ["http://a.example:8080"], ["http://a.example", "http://a.example:80808"]),
        ("http://[::1]:80", ["http://[::1]:80"], ["http://[::2]:80", "http://:80"]),
    ],
)  # fmt: skip
def test_origins_are_whole_and_a_star_is_one_label_or_more(rule: str, good: list[str], bad: list[str]) -> None:
    made = policy(origins=[rule])
    assert [origin for origin in good if not allowed(made, origin)] == []
    assert [origin for origin in bad if allowed(made, origin)] == []


def test_without_an_origin_it_is_no_browser() -> None:
    assert asked(policy(origins=["https://a.example"])).tunnel_settings is not None


def test_connections_are_counted_until_their_exchange_ends_whatever_ends_it() -> None:
    made = policy(max_connections=2)
    first, _ = asked(made), asked(made)
    with pytest.raises(GatewayError) as caught:
        asked(made)
    assert caught.value.code == "upgrade.too_many"
    assert caught.value.headers == {"retry-after": "5"}
    first.settle()
    asked(made)


def test_a_handshake_that_is_refused_or_fails_is_not_counted() -> None:
    made = policy(max_connections=1, origins=["https://a.example"])
    assert not allowed(made, "https://evil.example")
    for _ in range(3):
        relay = Relay(made, head=b"HTTP/1.1 101 x\r\n\r\n")
        assert relay.x.tunnel is not None
        relay.client.reset()
        relay.endpoint.reset()
        assert relay.done


@pytest.mark.parametrize(
    "config",
    [
        {"origins": []}, {"origins": ["a.example"]}, {"origins": ["https://A.example"]}, {"origins": ["*"]},
        {"origins": ["https://a.example/"]}, {"origins": ["https://a.*.example"]}, {"origins": ["https://(a|b)"]},
        {"ping": -1}, {"pong_timeout": "0s"}, {"pong_timeout": "none"}, {"max_frame": "much"},
        {"max_message": -1}, {"max_connections": -1}, {"reconnect": {"attempts": 0}}, {"reconnect": {"interval": "0s"}},
        {"reconnect": {"decay": 0.5}}, {"reconnect": {"tries": 1}}, {"pings": "1s"},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        policy(**config)
