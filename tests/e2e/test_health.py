"""Active health checks of a running gateway: who is ill gets no requests, and is back when it is well."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest

from propylon import Gateway, Response
from propylon.testing import TestClient
from tests.conftest import BOTH_LOOPS
from tests.e2e.test_tls_endpoints import Authorities, TlsUpstream
from tests.e2e.test_tls_endpoints import pki as pki
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import real_time, until
from tests.support.front import Fronts
from tests.support.oracle import Message
from tests.support.upstream import ScriptedUpstream, UpstreamConnection, answer, ok

QUICK = {"interval": "100ms", "timeout": "500ms", "healthy": 2, "unhealthy": 2}
NO = ok(b"no", status=b"503 Service Unavailable")


@dataclass
class Patient:
    """What an endpoint answers to checks, and to requests."""

    name: bytes
    check: bytes = field(default_factory=ok)

    def __call__(self, request: Message) -> bytes:
        return self.check if request.target == b"/healthz" else ok(self.name)


def checks(upstream: ScriptedUpstream) -> int:
    return sum(request.target == b"/healthz" for request in upstream.requests)


def gateway(health: dict[str, Any] | str, *urls: str, **keys: Any) -> Gateway:
    made = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    made.service("users", list(urls), health=health, balance="round_robin", **keys)
    return made.route("/*", service="users")


async def served_by(client: RawClient, requests: int = 6) -> set[bytes]:
    return {bytes((await client.ask(request_bytes(b"/x"))).body) for _ in range(requests)}


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "propylon.health"]


@BOTH_LOOPS
async def test_an_endpoint_that_turns_ill_gets_no_requests_until_it_is_well_again(
    front: Fronts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "propylon.health")
    one, two = Patient(b"one"), Patient(b"two")
    first, second = await front.upstream(answer(one)), await front.upstream(answer(two))
    made = await front.start(gateway({"path": "/healthz"} | QUICK, first.url, second.url))
    client = await front.client(made)
    assert await served_by(client) == {b"one", b"two"}
    one.check = NO
    await until(lambda: len(messages(caplog)) == 1, "the endpoint is found ill")
    assert await served_by(client) == {b"two"}
    one.check = ok()
    await until(lambda: len(messages(caplog)) == 2, "the endpoint is found well")
    assert await served_by(client) == {b"one", b"two"}
    assert messages(caplog) == [
        f"endpoint {first.url} is ill: GET /healthz answered 503, 2 times in a row",
        f"endpoint {first.url} is well again",
    ]


async def test_checks_leave_no_trace_in_what_is_counted_of_requests(front: Fronts) -> None:
    upstream = await front.upstream(answer(Patient(b"one", NO)))
    made = await front.start(gateway({"path": "/healthz"} | QUICK, upstream.url, breaker={"consecutive": 1}))
    await upstream.until(lambda: checks(upstream) >= 4, "some checks")
    endpoint = made.snapshot().services["users"].endpoints[0]
    assert endpoint.vitals.inflight == 0
    assert endpoint.vitals.ewma is None
    assert endpoint.breaker is not None
    assert endpoint.breaker.state == "closed"
    assert (endpoint.pool.open, endpoint.pool.idle) == (0, 0)


async def test_an_endpoint_that_hangs_is_ill_and_its_requests_go_elsewhere(
    front: Fronts, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang(connection: UpstreamConnection) -> None:
        await connection.request()

    hanging, well = await front.upstream(hang), await front.upstream(answer(Patient(b"well")))
    health = {"path": "/healthz"} | QUICK | {"timeout": "100ms"}
    made = await front.start(gateway(health, hanging.url, well.url))
    await until(lambda: len(messages(caplog)) == 1, "the endpoint is found ill")
    assert messages(caplog) == [
        f"endpoint {hanging.url} is ill: GET /healthz: no answer within 0.1 s, 2 times in a row"
    ]
    assert await served_by(await front.client(made)) == {b"well"}


async def test_an_endpoint_with_a_wrong_body_is_ill(front: Fronts, caplog: pytest.LogCaptureFixture) -> None:
    upstream = await front.upstream(answer(Patient(b"one", ok(b'{"status":"DOWN"}'))))
    await front.start(gateway({"path": "/healthz", "body": '"UP"'} | QUICK, upstream.url))
    await until(lambda: len(messages(caplog)) == 1, "the endpoint is found ill")
    assert "answered 200 without '\"UP\"'" in messages(caplog)[0]


async def test_the_checks_may_go_to_another_port(front: Fronts) -> None:
    service, management = await front.upstream(answer(Patient(b"one"))), await front.upstream(answer(ok()))
    made = await front.start(gateway({"path": "/healthz", "port": management.port} | QUICK, service.url))
    await management.until(lambda: checks(management) >= 2, "the other port is asked")
    assert await served_by(await front.client(made)) == {b"one"}
    assert checks(service) == 0


async def test_a_connection_may_be_all_that_is_asked_for(front: Fronts, caplog: pytest.LogCaptureFixture) -> None:
    upstream, well = await front.upstream(answer(Patient(b"one"))), await front.upstream(answer(Patient(b"well")))
    made = await front.start(gateway({"tcp": True} | QUICK, upstream.url, well.url))
    await upstream.until(lambda: len(upstream.connections) >= 2, "connections are opened")
    upstream.stop_listening()
    await until(lambda: len(messages(caplog)) == 1, "the endpoint is found ill")
    assert await served_by(await front.client(made)) == {b"well"}


@BOTH_LOOPS
async def test_over_tls_the_own_ca_and_the_clients_certificate_count_for_checks_too(
    front: Fronts, pki: Authorities, caplog: pytest.LogCaptureFixture
) -> None:
    identity = {"certificate": pki.client.certificate, "key": pki.client.key}
    async with TlsUpstream(answer(Patient(b"secret")), pki.local, client_ca=pki.ca) as upstream:
        health = {"path": "/healthz"} | QUICK
        made = await front.start(gateway(health, upstream.url, tls={"ca": pki.ca} | identity))
        await upstream.until(lambda: checks(upstream) >= 3, "checks arrive")
        assert await served_by(await front.client(made)) == {b"secret"}
        assert messages(caplog) == []
        await made.stop()
        await front.start(gateway(health, upstream.url, tls={"ca": pki.other_ca} | identity))
        await until(lambda: len(messages(caplog)) == 1, "the endpoint is found ill")
        assert "the certificate is not accepted" in messages(caplog)[0]


async def test_services_that_share_an_address_share_its_checks(front: Fronts) -> None:
    upstream = await front.upstream(answer(Patient(b"one")))
    health = {"path": "/healthz"} | QUICK | {"interval": "200ms"}
    made = gateway(health, upstream.url)
    for number in range(5):
        made.service(f"more-{number}", [upstream.url], health=health)
        made.route(f"/more-{number}", service=f"more-{number}")
    await front.start(made)
    await upstream.until(lambda: checks(upstream) >= 1, "checks begin")
    before = checks(upstream)
    await real_time(0.9)
    assert 2 <= checks(upstream) - before <= 6  # and not six times as many


async def test_a_gateway_that_stops_checks_no_more(front: Fronts) -> None:
    async def hang(connection: UpstreamConnection) -> None:
        await connection.request()
        await connection.gone()

    upstream = await front.upstream(hang)
    made = await front.start(gateway({"path": "/healthz"} | QUICK | {"timeout": "10s"}, upstream.url))
    await upstream.until(lambda: checks(upstream) == 1, "a check is under way")
    await made.stop()
    await upstream.until(lambda: upstream.connections[0].eof, "the check is given up")
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "propylon health"]
    await real_time(0.3)
    assert len(upstream.connections) == 1


async def test_a_test_client_checks_nothing() -> None:
    made = gateway({"path": "/healthz"} | QUICK, "http://127.0.0.1:1")
    client = TestClient(made, {"users": Response(200, body="ok")})
    for _ in range(3):
        assert (await client.request_async("GET", "/x")).status == 200
        await real_time(0.1)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "propylon health"]
