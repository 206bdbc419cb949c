"""The `mirror` policy: another service gets copies of requests, and the client cannot tell."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import pytest
from pydantic import ValidationError

from propylon import Gateway, Response
from propylon.config.load import validate
from propylon.config.problems import ConfigError
from propylon.engine.body import HIGH_WATER_BYTES, Body
from propylon.engine.forward import forward
from propylon.engine.pipeline import settled
from propylon.engine.scope import Scope
from propylon.policies import mirror
from propylon.policies.mirror import Config, Policy
from propylon.testing import ServiceDown, TestClient
from tests.support.deadline import settle
from tests.support.fakes import OK, FakeEndpoint, FakeUpstream, exchange, fake_service, snapshot
from tests.support.frames import handshake

USERS, NEXT = "http://127.0.0.1:3001/base", "http://127.0.0.1:3002/next"


class Recorder:
    """What stands for a service: remembers its requests."""

    def __init__(self, answer: Any = None) -> None:
        self.requests: list[Any] = []
        self.answer = answer if answer is not None else Response(200, body="ok")

    def __call__(self, request: Any) -> Any:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def gateway(settings: Any = "next", *policies: Any, route: dict[str, Any] | None = None, **keys: Any) -> Gateway:
    made = Gateway()
    made.service("users", [USERS], **keys)
    made.service("next", [NEXT], host="next.example")
    made.route("/*", service="users", policies=[*policies, {"mirror": settings}], **(route or {}))
    return made


def clients(made: Gateway, copies: Any = None, users: Any = None) -> tuple[TestClient, Recorder, Recorder]:
    users, copies = Recorder(users), Recorder(copies)
    return TestClient(made, {"users": users, "next": copies}), users, copies


def fields(request: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def test_another_service_gets_a_copy_with_its_body() -> None:
    client, users, copies = clients(gateway())
    answer = client.post("/x?a=1", body="hello", headers={"x-tenant": "blue"}, client="192.0.2.1")
    assert (answer.status, answer.body) == (200, b"ok")
    (original,), (copy,) = users.requests, copies.requests
    assert (copy.method, copy.query, copy.body) == ("POST", "a=1", b"hello")
    assert (original.path, copy.path) == ("/base/x", "/next/x")
    seen, told = fields(copy), fields(original)
    assert seen.pop("host") == "next.example"
    assert seen.pop("x-mirrored") == "1"
    assert told.pop("host") == "127.0.0.1:3001"
    assert seen == told
    assert "192.0.2.1" in seen["x-forwarded-for"]


def test_a_body_that_comes_in_pieces_is_copied_whole() -> None:
    client, users, copies = clients(gateway())
    client.post("/x", body=iter([b"one ", b"two ", b"three"]))
    assert [each.requests[0].body for each in (users, copies)] == [b"one two three"] * 2
    assert fields(copies.requests[0])["content-length"] == "13"


def test_a_request_without_a_body_has_none_in_the_copy() -> None:
    client, _, copies = clients(gateway())
    client.get("/x")
    assert "content-length" not in fields(copies.requests[0])


@pytest.mark.parametrize(
    ("route", "expected"),
    [({"strip": "/api"}, "/next/v1/x"), ({"rewrite": "/new{path}"}, "/next/new/api/v1/x")],
)
def test_the_copy_goes_to_the_same_rewritten_path(route: dict[str, Any], expected: str) -> None:
    if "rewrite" in route:
        route = {"rewrite": {"prefix": "/api", "to": "/new/api"}}
    made = Gateway().service("users", [USERS]).service("next", [NEXT])
    made.route("/api/*", service="users", policies=[{"mirror": "next"}], **route)
    client, users, copies = clients(made)
    client.get("/api/v1/x")
    assert copies.requests[0].path == expected
    assert users.requests[0].path == expected.replace("/next", "/base")


def test_what_policies_have_made_of_the_request_is_in_the_copy_wherever_they_stand() -> None:
    def path(x: Any) -> None:
        x.request.path = "/other"

    headers = {"headers": {"request": {"set": {"x-before": "1"}, "remove": ["x-gone"]}}}
    made = gateway("next", headers, route={"rewrite": {"prefix": "/", "to": "/rewritten/"}})
    made.policy(path)
    client, _, copies = clients(made)
    client.get("/x", headers={"x-gone": "1"})
    assert copies.requests[0].path == "/next/other"
    assert fields(copies.requests[0])["x-before"] == "1"
    assert "x-gone" not in fields(copies.requests[0])


def test_what_is_changed_for_one_try_is_for_the_service_of_that_try_alone() -> None:
    class Credentials:
        def on_attempt(self, x: Any, attempt: Any) -> None:
            attempt.headers.set("authorization", "for users only")

    client, users, copies = clients(gateway("next", Credentials()))
    client.get("/x")
    assert "authorization" in fields(users.requests[0])
    assert "authorization" not in fields(copies.requests[0])


def test_the_request_itself_is_the_same_with_and_without_a_mirror() -> None:
    plain = Gateway().service("users", [USERS]).service("next", [NEXT])
    plain.route("/*", service="users")
    seen = []
    for made in (plain, gateway()):
        client, users, _ = clients(made)
        client.post("/x", body="hello", headers={"X-Mixed-Case": "1", "x-request-id": "id"})
        seen.append([*users.requests[0].headers.items()])
    assert seen[0] == seen[1]


def test_what_a_policy_has_answered_is_not_copied() -> None:
    client, _, copies = clients(gateway("next", lambda x: Response(401)))
    assert client.get("/x").status == 401
    assert copies.requests == []


def test_as_many_are_copied_as_drawn() -> None:
    drawn = iter([0.0999, 0.1, 0.5, 0.0])
    client, _, copies = clients(gateway({"service": "next", "percent": "10%"}))
    (placed,) = client._core.snapshot.policies
    placed.scope.random = lambda: next(drawn)
    for path in ("/1", "/2", "/3", "/4"):
        client.get(path)
    assert [request.path for request in copies.requests] == ["/next/1", "/next/4"]
    policy: Any = placed.policy
    assert (policy.sent, policy.under_way) == (2, 0)


@pytest.mark.parametrize("answer", [ServiceDown("connect.refused"), Response(500), RuntimeError("a defect")])
def test_whatever_becomes_of_the_copy_the_client_gets_its_answer(answer: Any) -> None:
    client, _, _ = clients(gateway(), answer)
    reply = client.post("/x", body="hello")
    assert (reply.status, reply.body) == (200, b"ok")


def test_a_copy_is_never_tried_again_and_a_request_that_is_has_one_copy() -> None:
    made = Gateway().service("users", [USERS]).route("/*", service="users", policies=[{"mirror": "next"}])
    made.service("next", [NEXT, "http://127.0.0.1:3004"], retry={"attempts": 3, "on": ["reset"]})
    client, users, copies = clients(made, ServiceDown("attempt.closed"))
    client.get("/x")
    assert len(copies.requests) == 1
    made = Gateway().service("users", [USERS, "http://127.0.0.1:3003"], retry={"attempts": 3, "on": ["reset"]})
    made.service("next", [NEXT]).route("/*", service="users", policies=[{"mirror": "next"}])
    client, users, copies = clients(made, None, ServiceDown("attempt.closed"))
    assert client.get("/x").status == 502
    assert (len(users.requests), len(copies.requests)) == (2, 1)


# by hand: what happens while copies are under way


class Bench:
    """A route to one upstream, whose requests are copied to another one that answers when the test says so."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0, **settings: Any) -> None:
        self.scope = Scope("mirror", clock=clock, random=lambda: 0.0, home=cast("Any", self))
        self.policy = Policy(Config.model_validate({"service": "next"} | settings), self.scope)
        self.copies = [FakeUpstream() for _ in range(9)]
        self.upstreams = [FakeUpstream() for _ in range(9)]
        self.endpoint = FakeEndpoint(*self.upstreams)
        self.snapshot = snapshot(
            self.policy,
            endpoint=self.endpoint,
            services={"next": fake_service(FakeEndpoint(*self.copies))},
        )

    def begin(self, body: bytes | Body | None = None, **keys: Any) -> Any:
        x = exchange(self.snapshot, **keys)
        x.body = body
        x.start(forward(x))
        return x

    @property
    def sent(self) -> list[bytes | None]:
        """The bodies of the copies."""
        return [each.sent[0][-1] for each in self.copies if each.sent]


class Feed:
    """The source of a body."""

    def __init__(self, length: int = -1) -> None:
        self.body = Body(self, length)
        self.holds: set[object] = set()

    def hold(self, owner: object) -> None:
        self.holds.add(owner)

    def release(self, owner: object) -> None:
        self.holds.discard(owner)

    def body_wanted(self) -> None:
        pass


async def test_a_client_never_waits_for_a_copy() -> None:
    bench = Bench()
    x = bench.begin()
    bench.upstreams[0].answer(OK, b"there")
    assert x.client.body == b"there"
    assert x.finished
    await settle()
    assert bench.policy.under_way == 1
    bench.copies[0].answer()
    await settled()
    assert (bench.policy.under_way, bench.policy.sent) == (0, 1)


async def test_a_body_is_passed_on_while_it_is_copied_and_the_copy_goes_out_at_its_end() -> None:
    bench, feed = Bench(), Feed()
    feed.body.feed(b"one ")
    bench.begin(feed.body, method=b"POST")
    feed.body.feed(b"two")
    assert bench.upstreams[0].request_body == b"one two"
    await settle()
    assert bench.sent == []
    feed.body.end([])
    await settle()
    assert bench.sent == [b"one two"]
    bench.upstreams[0].answer()
    bench.copies[0].answer()
    await settled()


async def test_a_large_answer_to_a_copy_is_cut() -> None:
    bench = Bench()
    bench.begin()
    await settle()
    body = bench.copies[0].begin_answer(OK)
    body.feed(b"x" * mirror.READ_BYTES)
    await settle()
    assert bench.copies[0].finished == 0
    body.feed(b"x")
    await settled()
    assert bench.copies[0].finished == 1
    assert (bench.policy.under_way, bench.policy.sent) == (0, 1)
    bench.upstreams[0].answer()


async def test_a_silent_copy_ends_after_its_own_time() -> None:
    bench = Bench(timeout="30ms")
    bench.begin()
    await asyncio.wait_for(settled(), 3)
    assert (bench.policy.under_way, bench.policy.failed) == (0, 1)
    bench.upstreams[0].answer()


@pytest.mark.parametrize("known", [True, False], ids=["length", "chunked"])
async def test_a_body_that_is_too_large_is_not_copied_and_not_kept(known: bool) -> None:
    bench = Bench(max_body=100_000)
    feed = Feed(200_000 if known else -1)
    bench.begin(feed.body, method=b"POST")
    for _ in range(20):
        feed.body.feed(b"x" * 10_000)
    assert (bench.policy.under_way, bench.policy.left_out) == (0, 1)
    assert feed.body._taps == ()
    feed.body.end([])
    await settle()
    assert bench.sent == []
    assert len(bench.upstreams[0].request_body) == 200_000
    bench.begin(b"x" * 100_001, method=b"POST")
    assert bench.policy.left_out == 2
    for upstream in bench.upstreams[:2]:
        upstream.answer()


async def test_a_body_that_never_ends_is_not_copied() -> None:
    bench, feed = Bench(), Feed()
    bench.begin(feed.body, method=b"POST")
    feed.body.feed(b"half")
    assert bench.policy.under_way == 1
    bench.upstreams[0].fail("attempt.closed")
    assert (bench.policy.under_way, bench.policy.left_out) == (0, 1)
    await settle()
    assert bench.sent == []


async def test_no_more_copies_than_allowed_are_under_way_those_that_wait_for_their_body_included(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench, feed = Bench(max=2), Feed()
    bench.begin(feed.body, method=b"POST")
    for _ in range(3):
        bench.begin()
    assert (bench.policy.under_way, bench.policy.dropped) == (2, 2)
    assert caplog.messages == [
        "copies of requests do not all reach service next: 0 did, 0 failed, 1 were dropped, 0 left out; 2 are under way"
    ]
    await settle()
    bench.copies[0].answer()
    await settle()
    bench.begin()
    assert (bench.policy.under_way, bench.policy.dropped) == (2, 2)
    feed.body.end([])
    await settle()
    for upstream in bench.copies[1:3]:
        upstream.answer()
    await settled()
    for upstream in bench.upstreams[:5]:
        upstream.answer()
    assert bench.policy.under_way == 0


async def test_what_fails_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = iter((1.0, 2.0, 60.9, 61.0))
    bench = Bench(lambda: next(clock))
    caplog.set_level(logging.WARNING, "propylon.policies")
    for number in range(4):
        bench.begin()
        await settle()
        bench.copies[number].fail("attempt.closed")
        await settled()
        bench.upstreams[number].answer()
    told = [message for message in caplog.messages if message.startswith("copies of requests")]
    assert [message.partition(":")[2].partition(";")[0] for message in told] == [
        " 0 did, 1 failed, 0 were dropped, 0 left out",
        " 0 did, 4 failed, 0 were dropped, 0 left out",
    ]


async def test_websockets_are_not_copied() -> None:
    bench = Bench()
    _, _, block = handshake().partition(b"\r\n")
    bench.begin(fields=block.removesuffix(b"\r\n"))
    assert bench.upstreams[0].sent
    assert bench.policy.under_way == 0
    bench.upstreams[0].fail("attempt.closed")


async def test_two_mirrors_each_get_their_copy_of_a_body() -> None:
    other = [FakeUpstream()]
    bench, feed = Bench(), Feed()
    second = Policy(Config(service="other"), bench.scope)
    bench.snapshot = snapshot(
        bench.policy,
        second,
        endpoint=bench.endpoint,
        services={"next": fake_service(FakeEndpoint(*bench.copies)), "other": fake_service(FakeEndpoint(*other))},
    )
    bench.begin(feed.body, method=b"POST")
    feed.body.feed(b"x" * HIGH_WATER_BYTES)
    feed.body.end([])
    await settle()
    assert [len(each.sent[0][-1]) for each in (bench.copies[0], other[0])] == [HIGH_WATER_BYTES] * 2
    for upstream in (bench.copies[0], other[0], bench.upstreams[0]):
        upstream.answer()
    await settled()


async def test_a_service_that_is_not_there_costs_the_client_nothing(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.policy = Policy(Config(service="gone"), bench.scope)
    bench.snapshot = snapshot(bench.policy, endpoint=bench.endpoint)
    x = bench.begin()
    bench.upstreams[0].answer(OK, b"there")
    await settled()
    assert x.client.body == b"there"
    assert "there is no service 'gone'" in caplog.text


# configuration


def test_a_name_alone_is_the_service() -> None:
    assert Config.model_validate("next") == Config(service="next")


@pytest.mark.parametrize(
    "settings",
    [{}, {"service": ""}, {"service": "a", "percent": 10}, {"service": "a", "timeout": 0}, {"service": "a", "max": 0}],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(settings)


@pytest.mark.parametrize("settings", ["nxt", {"service": "nxt"}, mirror.Config(service="nxt")])
@pytest.mark.parametrize("place", ["gateway", "service", "route"])
def test_a_service_that_is_not_there_is_a_problem_of_the_configuration(settings: Any, place: str) -> None:
    policies = [{"mirror": settings}]
    users = {"endpoints": [USERS], **({"policies": policies} if place == "service" else {})}
    route = {"path": "/*", "service": "users", **({"policies": policies} if place == "route" else {})}
    data = {"services": {"users": users, "next": {"endpoints": [NEXT]}}, "routes": [route]}
    with pytest.raises(ConfigError, match=r"unknown service 'nxt', did you mean 'next'\?") as raised:
        validate(data | ({"policies": policies} if place == "gateway" else {}))
    at = {"gateway": "policies.0", "service": "services.users.policies.0", "route": "routes.0.policies.0"}[place]
    assert f"{at}.mirror" in str(raised.value)


def test_a_copy_has_the_prefix_and_the_parts_of_the_host_as_the_request_has() -> None:
    made = Gateway()
    made.service("users", [USERS])
    made.service("next", [NEXT])
    edit = {"set": {"tenant": "{host.*}"}}
    made.route(
        "/api/*", host="*.a.example", service="users", strip="/api", query_edit=edit, policies=[{"mirror": "next"}]
    )
    client, users, copies = clients(made)
    assert client.get("/api/x", headers={"host": "blue.a.example"}).status == 200
    for sent in (*users.requests, *copies.requests):
        assert (sent.query, fields(sent)["x-forwarded-prefix"]) == ("tenant=blue", "/api")
    assert len(users.requests) == len(copies.requests) == 1
