"""What is made of the variables: the routes and where they lead, without a socket."""

from typing import Any

import pytest

from propylon import Gateway
from propylon.build.snapshot import build_snapshot
from propylon.service_mode.gateway import gateway_config
from propylon.service_mode.variables import Variables
from propylon.services.breaker import BreakerSettings
from propylon.services.settings import BreakerUse
from propylon.testing import TestClient

HANDSHAKE = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
}
UPSTREAMS = {"users": ["http://127.0.0.1:3001/base/"], "a.b": ["http://127.0.0.1:3002"]}


def client(**given: Any) -> TestClient:
    variables = Variables.model_validate({"UPSTREAMS": UPSTREAMS, **given})
    return TestClient(Gateway.from_config(gateway_config(variables)))


def sent(method: str, target: str) -> str:
    answer = client().request(method, target)
    assert answer.status == 200, answer.text
    (request,) = answer.sent
    return f"{request.service} {request.path}{'' if request.query is None else f'?{request.query}'}"


@pytest.mark.parametrize(
    ("target", "goes_to"),
    [
        ("/api/users/", "users /base/"),
        ("/api/users/7", "users /base/7"),
        ("/api/users/a/b/?x=%2F&x=&y", "users /base/a/b/?x=%2F&x=&y"),
        ("/api/a.b/x", "a.b /x"),
        ("/api/users/p%2Fq", "users /base/p%2Fq"),
        ("/api/users/p;v=1", "users /base/p;v=1"),
        ("/api/users/caf%c3%a9", "users /base/caf%C3%A9"),
        ("/api/users//127.0.0.1:9/pwn", "users /base/127.0.0.1:9/pwn"),
        ("/api/users/http://127.0.0.1:9/pwn", "users /base/http:/127.0.0.1:9/pwn"),
        ("/sse/users/events?last=3", "users /base/events?last=3"),
    ],
)
def test_where_a_path_leads(target: str, goes_to: str) -> None:
    assert sent("GET", target) == goes_to


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_a_service_gets_every_method(method: str) -> None:
    (request,) = client().request(method, "/api/users/x").sent
    assert request.method == method


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("PROPFIND", "/api/users/x", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        ("POST", "/sse/users/x", "GET, HEAD"),
        ("POST", "/ws/users", "GET"),
        ("POST", "/healthz", "GET, HEAD"),
    ],
)
def test_another_method_is_refused(method: str, target: str, allow: str) -> None:
    answer = client().request(method, target)
    assert (answer.status, answer.headers["allow"], answer.sent) == (405, allow, [])


@pytest.mark.parametrize(
    "target",
    ["/api/users/../../x", "/api/users/%2e%2e/x", "/api/users/..%2f..%2fx", "/api/users/..;/x", "/api/users/%zz"],
)
def test_an_ambiguous_path_is_refused(target: str) -> None:
    answer = client().get(target)
    assert (answer.status, answer.sent) == (400, [])


@pytest.mark.parametrize(
    "target", ["/", "/api", "/api/", "/api/users", "/sse/users", "/services.json", "/admin", "/ws/users/x"]
)
def test_what_is_no_path_of_a_service_is_not_found(target: str) -> None:
    answer = client().get(target)
    assert (answer.status, answer.sent) == (404, [])


def test_the_probes_tell_what_they_told() -> None:
    assert client().get("/healthz").json() == {"ok": True}
    assert client().get("/readyz").json() == {"ok": True, "upstreamServices": 2}
    assert client(UPSTREAMS={}).get("/readyz").json() == {"ok": True, "upstreamServices": 0}
    assert client().head("/healthz").status == 200


def test_the_address_the_level_and_the_times_are_the_variables() -> None:
    given = {"HOST": "::1", "PORT": "9000", "LOG_LEVEL": "trace", "HTTP_PROXY_TIMEOUT_MS": "1500"}
    config = gateway_config(Variables.model_validate({"UPSTREAMS": UPSTREAMS, **given}))
    assert str(config.listen[0].address) == "[::1]:9000"
    assert config.log.level == "debug"
    timeouts = client(**given).get("/api/users/x").exchange.timeouts
    assert (timeouts.connect, timeouts.response, timeouts.total) == (1.5, 1.5, None)
    timeouts = client().get("/api/users/x").exchange.timeouts
    assert (timeouts.connect, timeouts.response) == (5.0, 30.0)


def test_events_may_be_rare() -> None:
    assert client().get("/sse/users/x").exchange.timeouts.idle is None
    assert client().get("/api/users/x").exchange.timeouts.idle == 60.0


def test_a_large_body_is_refused_as_it_was() -> None:
    answer = client().post("/api/users/x", body=b"x" * (1024 * 1024 + 1))
    assert (answer.status, answer.sent) == (413, [])
    assert answer.json() == {
        "statusCode": 413,
        "code": "FST_ERR_CTP_BODY_TOO_LARGE",
        "error": "Payload Too Large",
        "message": "Request body is too large",
    }
    assert client().post("/api/users/x", body=b"x" * (1024 * 1024)).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_websocket_is_not_had_without_an_upgrade(method: str) -> None:
    answer = client().request(method, "/ws/users?path=/chat")
    assert (answer.status, answer.sent) == (426, [])
    assert answer.headers["upgrade"] == "websocket"
    if method == "GET":
        assert answer.json()["error"] == "upgrade_required"


@pytest.mark.parametrize("target", ["/api/users/x", "/sse/users/x"])
def test_a_websocket_has_a_way_of_its_own(target: str) -> None:
    answer = client().get(target, headers=HANDSHAKE)
    assert (answer.status, answer.json()["code"], answer.sent) == (403, "upgrade.refused", [])


def test_a_websocket_is_watched_as_the_variables_say() -> None:
    given = {"WS_PING_INTERVAL_MS": "1500", "WS_MAX_BUFFERED_BYTES": "1000"}
    for test_client, expected in ((client(**given), (1.5, 10.0, 1000)), (client(), (30.0, 10.0, 2_000_000))):
        settings = test_client.get("/ws/users?path=/chat", headers=HANDSHAKE).exchange.tunnel_settings
        assert settings is not None
        assert (settings.ping, settings.pong_timeout, settings.max_buffered) == expected


def test_services_are_balanced_and_watched_as_the_real_time_api_gateway_does_it() -> None:
    variables = Variables.model_validate({"UPSTREAMS": {"users": ["http://127.0.0.1:1", "http://127.0.0.1:2"]}})
    service = build_snapshot(gateway_config(variables)).services["users"]
    assert service.settings.balance[0] == "least_load"
    assert service.settings.breaker == BreakerUse(settings=BreakerSettings(failures=5, window=10.0, open=15.0))
