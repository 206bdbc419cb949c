"""The opening handshake: what is refused before an endpoint hears of it, and what becomes of a 101."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from propylon import Response
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.timing import Ending
from propylon.engine.websocket.settings import Reconnect, TunnelSettings
from propylon.engine.websocket.upgrade import check_handshake
from propylon.http.request_head import HeadRules, RequestFields
from propylon.http.websocket import Close
from tests.support.deadline import settle
from tests.support.fakes import FakeClient, FakeEndpoint, FakeTransport, FakeUpstream, exchange, snapshot
from tests.support.frames import SWITCH, Frame, frame
from tests.support.tunnels import HANDSHAKE, Relay

KEY = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
OFFER = b"sec-websocket-extensions: x-webkit-deflate-frame, permessage-deflate; client_max_window_bits\r\n"


def fields(block: bytes) -> RequestFields:
    return RequestFields(block, HeadRules())


def offered(*policies: object, settings: TunnelSettings | None = None, block: bytes = OFFER) -> list[bytes]:
    """The extensions that an endpoint was offered."""
    upstream = FakeUpstream()
    x = exchange(snapshot(*policies, endpoint=FakeEndpoint(upstream)), fields=HANDSHAKE + block)
    x.tunnel_settings = settings
    x.start(forward(x))
    name = b"sec-websocket-extensions: "
    return [line.removeprefix(name) for line in upstream.block.split(b"\r\n") if line.startswith(name)]


class Looks:
    def on_message(self, *_: Any) -> None:
        pass


# the request


def test_a_good_handshake_is_one() -> None:
    check_handshake(b"GET", fields(HANDSHAKE))
    check_handshake(b"GET", fields(HANDSHAKE + b"content-length: 0\r\n"))
    check_handshake(b"GET", fields(HANDSHAKE.replace(b"upgrade\r\n", b"keep-alive, Upgrade\r\n", 1)))


@pytest.mark.parametrize(
    ("method", "block", "code"),
    [
        (b"POST", HANDSHAKE, "upgrade.bad_handshake"),
        (b"HEAD", HANDSHAKE, "upgrade.bad_handshake"),
        (b"GET", HANDSHAKE.replace(b"connection: upgrade\r\n", b""), "upgrade.bad_handshake"),
        (b"GET", HANDSHAKE + b"content-length: 1\r\n", "upgrade.bad_handshake"),
        (b"GET", HANDSHAKE + b"transfer-encoding: chunked\r\n", "upgrade.bad_handshake"),
        (b"GET", HANDSHAKE.replace(b": 13", b": 8"), "upgrade.version"),
        (b"GET", HANDSHAKE.replace(b": 13", b": 13, 8"), "upgrade.version"),
        (b"GET", HANDSHAKE + b"sec-websocket-version: 13\r\n", "upgrade.version"),
        (b"GET", HANDSHAKE.replace(b"sec-websocket-version: 13\r\n", b""), "upgrade.version"),
        (b"GET", HANDSHAKE.replace(KEY, b""), "upgrade.bad_handshake"),
        (b"GET", HANDSHAKE + KEY, "upgrade.bad_handshake"),
        (b"GET", HANDSHAKE.replace(b"dGhl", b"dGh"), "upgrade.bad_handshake"),
        (b"GET", HANDSHAKE.replace(b"connection: upgrade", b"connection: upgrade, sec-websocket-key"),
         "upgrade.bad_handshake"),
    ],
)  # fmt: skip
def test_a_bad_one_is_refused_before_a_route_is_found(method: bytes, block: bytes, code: str) -> None:
    with pytest.raises(GatewayError) as caught:
        check_handshake(method, fields(block))
    assert caught.value.code == code
    upstream, client = FakeUpstream(), FakeClient()
    x = exchange(snapshot(endpoint=FakeEndpoint(upstream)), client=client, method=method, fields=block)
    x.start(forward(x))
    assert upstream.sent == []
    assert x.route.name == "-"
    assert client.heads[0][0] == (426 if code == "upgrade.version" else 400)


def test_a_wrong_version_is_told_the_right_one() -> None:
    client = FakeClient()
    x = exchange(client=client, fields=HANDSHAKE.replace(b": 13", b": 8"))
    x.start(forward(x))
    assert b"sec-websocket-version: 13\r\n" in client.heads[0][1]


def test_the_handshake_goes_to_the_endpoint_as_one() -> None:
    upstream = FakeUpstream()
    x = exchange(snapshot(endpoint=FakeEndpoint(upstream)), fields=HANDSHAKE + b"cookie: a=b\r\n")
    x.start(forward(x))
    assert upstream.line == b"GET /x"
    for line in (KEY.strip(), b"sec-websocket-version: 13", b"cookie: a=b"):
        assert upstream.block.split(b"\r\n").count(line) == 1
    assert upstream.sent[0][-1] is None


def test_what_is_offered_is_what_the_gateway_can_carry() -> None:
    whole = b"x-webkit-deflate-frame, permessage-deflate; client_max_window_bits"
    assert offered() == [whole]
    assert offered(settings=TunnelSettings()) == [whole]
    assert offered(Looks()) == [b"permessage-deflate; client_max_window_bits"]
    assert offered(settings=TunnelSettings(reconnect=Reconnect())) == []
    assert offered(Looks(), settings=TunnelSettings(reconnect=Reconnect())) == []
    assert offered(Looks(), block=b"") == []


# the answer


def test_the_head_of_a_101_passes_without_what_ends_at_this_hop() -> None:
    relay = Relay(head=SWITCH.replace(b"\r\n\r\n", b"\r\nsec-websocket-protocol: chat\r\ndate: now\r\n\r\n"))
    (call,) = [call for call in relay.fake.calls if call[0] == "switch"]
    assert call[1] == 101
    assert call[2] == (
        b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"sec-websocket-protocol: chat\r\ndate: now\r\nx-request-id: id-1\r\n"
    )
    assert relay.x.status == 101


def test_on_response_policies_may_change_the_head() -> None:
    def on_response(x: Exchange) -> None:
        assert x.response is not None
        assert x.response.status == 101
        x.response.headers.set("x-seen", "yes")
        x.response.headers.set("connection", "close")
        x.response.headers.set("content-length", "5")

    relay = Relay(SimpleNamespace(on_response=on_response))
    (call,) = [call for call in relay.fake.calls if call[0] == "switch"]
    assert b"x-seen: yes\r\n" in call[2]
    assert b"connection" not in call[2]
    assert b"content-length" not in call[2]


def test_a_copy_of_a_101_is_still_one() -> None:
    def on_response(x: Exchange) -> None:
        assert x.response is not None
        x.response = x.response.of_exchange(x)
        x.response.headers.set("x-seen", "yes")

    relay = Relay(SimpleNamespace(on_response=on_response))
    assert relay.fake.names == ["switch"]
    assert b"x-seen: yes\r\n" in relay.fake.calls[0][2]


def replaced(x: Exchange) -> None:
    x.response = Response(403, body="no")


def changed(x: Exchange) -> None:
    assert x.response is not None
    x.response.status = 403
    x.response.replace_body("no")


@pytest.mark.parametrize("on_response", [replaced, changed])
def test_on_response_policies_may_refuse(on_response: Any) -> None:
    relay = Relay(SimpleNamespace(on_response=on_response))
    (head,) = relay.fake.heads
    assert head[0] == 403
    assert relay.fake.body == b"no"
    assert relay.upstreams[0].finished == 1
    assert relay.x.tunnel is None
    assert relay.x.finished


def test_a_policy_that_fails_on_a_101_is_a_500() -> None:
    def on_response(x: Exchange) -> None:
        raise ValueError("secret")

    relay = Relay(SimpleNamespace(on_response=on_response))
    assert relay.fake.heads[0][0] == 500
    assert b"secret" not in relay.fake.body
    assert relay.upstreams[0].finished == 1
    assert relay.endpoint.transport.aborted


@pytest.mark.parametrize("gone", ["client", "endpoint"])
async def test_a_side_that_goes_away_while_a_policy_looks_at_the_101(gone: str) -> None:
    gate = asyncio.Event()

    async def on_response(x: Exchange) -> None:
        await gate.wait()

    relay = Relay(SimpleNamespace(on_response=on_response), from_endpoint=frame(1, b"early", mask=None))
    await settle()
    if gone == "client":
        relay.x.fail(GatewayError("relay.client_gone"))
        assert relay.x.finished
        assert relay.upstreams[0].finished == 1
        return
    relay.upstreams[0].transport = None
    gate.set()
    await settle()
    assert relay.client.frames() == [Frame(8, b"\x03\xf3upstream_error")]


def test_a_gateway_that_stops_during_the_handshake_closes_what_comes_of_it() -> None:
    upstream, client = FakeUpstream(), FakeClient()
    upstream.transport, client.transport = FakeTransport(), FakeTransport()
    x = exchange(snapshot(endpoint=FakeEndpoint(upstream)), client=client, fields=HANDSHAKE)
    x.start(forward(x))
    x.end_by(Ending(5.0, Close(1012, "service_restart")))
    upstream.open()
    assert client.due <= 5.0
    x.check(5.0)
    assert client.transport.written == b"\x88\x11\x03\xf4service_restart"


@pytest.mark.parametrize(
    "extensions", [b"permessage-deflate; client_max_window_bits=\xb2", b"\xff\xfe", b";;=,", b"x" * 9000]
)
def test_whatever_an_endpoint_says_of_extensions_opens_a_tunnel(extensions: bytes) -> None:
    said = b"\r\nsec-websocket-extensions: %b\r\n\r\n" % extensions
    relay = Relay(Looks(), head=SWITCH.replace(b"\r\n\r\n", said))
    relay.client.send(frame(1, b"x"))
    assert relay.endpoint.frames() == [Frame(1, b"x")]


def test_a_defect_before_the_101_is_a_500(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("propylon.engine.websocket.upgrade.Tunnel", broken)
    relay = Relay()
    assert relay.fake.heads[0][0] == 500


def test_what_happens_to_the_exchange_is_what_happens_to_any() -> None:
    done: list[tuple[int, bool]] = []
    policy = SimpleNamespace(on_done=lambda x: done.append((x.status, x.tunnel is not None)))
    relay = Relay(policy)
    assert done == []
    relay.client.reset()
    relay.endpoint.reset()
    assert done == [(101, True)]
