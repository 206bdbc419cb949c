"""The test client: what a policy author sees of both ends, without a socket."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from propylon import Exchange, Gateway, Response, Scope, Subrequest
from propylon.build.errors import BuildError
from propylon.testing import Answer, Handler, ServiceDown, ServiceRequest, StreamedResponse, TestClient

TARGET = "http://127.0.0.1:3001"


def client_of(handler: Handler | None = None, *policies: Any, **keys: Any) -> TestClient:
    """A gateway with one route, /users/* to TARGET."""
    gateway = Gateway()
    gateway.route("/users/*", target=TARGET, policies=list(policies), **keys)
    return TestClient(gateway, {} if handler is None else {TARGET: handler})


def test_a_service_without_a_handler_echoes_what_it_got() -> None:
    answer = client_of(strip="/users").post("/users/7?x=1", headers={"x-a": "b"}, body="hello")
    assert answer.status == 200
    echo = answer.json()
    assert (echo["method"], echo["path"], echo["query"], echo["body"]) == ("POST", "/7", "x=1", "hello")
    assert ["x-a", "b"] in echo["headers"]


def test_an_answer_shows_what_the_service_received() -> None:
    answer = client_of(lambda _: Response(201, json={"id": 7}), strip="/users").put("/users/7", json={"name": "Ada"})
    assert (answer.status, answer.json(), answer.headers["content-type"]) == (201, {"id": 7}, "application/json")
    [sent] = answer.sent
    assert (sent.service, sent.endpoint, sent.method, sent.path, sent.query) == (TARGET, TARGET, "PUT", "/7", None)
    assert sent.json() == {"name": "Ada"}
    assert sent.headers["host"] == "127.0.0.1:3001"
    assert sent.headers["x-forwarded-host"] == "gateway.test"
    assert sent.headers["x-request-id"] == answer.headers["x-request-id"] == answer.exchange.request_id


def test_services_are_found_by_name_and_endpoints_by_url() -> None:
    gateway = Gateway()
    gateway.service("users", ["http://127.0.0.1:3001", "http://127.0.0.1:3002"], balance="round_robin")
    gateway.route("/*", service="users")
    client = TestClient(gateway, {"users": Response(200, body="any"), "http://127.0.0.1:3002": Response(200, body="2")})
    assert sorted(client.get("/").text for _ in range(4)) == ["2", "2", "any", "any"]


def test_a_service_the_gateway_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="no service \\['userz'\\]"):
        TestClient(Gateway().route("/*", target=TARGET), {"userz": Response(200)})


@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async def"])
def test_policies_run_and_may_answer(is_async: bool) -> None:
    def require_key(x: Exchange) -> Response | None:
        return None if x.request.headers.get("x-api-key") == "s3cret" else Response(401)

    async def require_key_async(x: Exchange) -> Response | None:
        await asyncio.sleep(0)
        return require_key(x)

    client = client_of(None, require_key_async if is_async else require_key)
    refused = client.get("/users/7")
    assert (refused.status, refused.sent, refused.exchange.route.name) == (401, [], "/users/*")
    assert client.get("/users/7", headers=[("X-Api-Key", "s3cret")]).status == 200


class Phases:
    """Notes its phases, and changes both bodies."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_attempt(self, x: Exchange, attempt: Any) -> None:
        attempt.headers.set("x-attempt", str(attempt.number))

    def on_request_chunk(self, x: Exchange, data: bytes) -> bytes:
        self.seen.append(f"request {data!r}")
        return data.upper()

    async def on_response_chunk(self, x: Exchange, data: bytes) -> bytes:
        await asyncio.sleep(0)
        self.seen.append(f"response {data!r}")
        return data + b"!" if data else b"end"

    async def on_done(self, x: Exchange) -> None:
        await asyncio.sleep(0)
        self.seen.append(f"done {x.status}")


def test_bodies_in_pieces_reach_chunk_hooks_as_pieces_and_async_on_done_is_waited_for() -> None:
    policy = Phases()
    answer = client_of(lambda _: StreamedResponse([b"a", b"b"]), policy).post("/users/", body=[b"x", b"y"])
    assert (answer.body, answer.complete) == (b"a!b!end", True)
    assert answer.sent[0].body == b"XY"
    assert answer.sent[0].headers["x-attempt"] == "1"
    assert answer.sent[0].headers["transfer-encoding"] == "chunked"
    assert policy.seen == [
        "request b'x'", "request b'y'", "request b''", "response b'a'", "response b'b'", "response b''", "done 200",
    ]  # fmt: skip


def test_a_policy_may_read_a_body_that_comes_in_pieces() -> None:
    async def sizes(x: Exchange) -> None:
        x.state["size"] = len(await x.request.body())

    answer = client_of(None, sizes).post("/users/", body=[b"x" * 50_000] * 5)
    assert answer.exchange.state["size"] == len(answer.sent[0].body) == 250_000


@pytest.mark.parametrize("body", [b"123456", [b"123", b"456"]], ids=["whole", "in pieces"])
def test_a_body_beyond_the_limit_is_a_413(body: Any) -> None:
    answer = client_of(None, {"body_limit": {"max": 5}}).post("/users/", body=body)
    assert (answer.status, answer.json()["code"], answer.sent) == (413, "request.body_too_large", [])


@pytest.mark.parametrize(
    ("code", "status"), [("connect.refused", 503), ("connect.timeout", 504), ("attempt.closed", 502), ("head.bad", 502)]
)
@pytest.mark.parametrize("way", ["stands", "returns", "raises"])
def test_a_service_that_is_down_is_answered_by_the_table_of_errors(code: str, status: int, way: str) -> None:
    def returns(_: ServiceRequest) -> ServiceDown:
        return ServiceDown(code)

    async def raises(_: ServiceRequest) -> Response:
        raise ServiceDown(code)

    handlers: dict[str, Handler] = {"stands": ServiceDown(code), "returns": returns, "raises": raises}
    answer = client_of(handlers[way]).get("/users/7")
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.exchange.error is not None


def test_a_failure_that_no_service_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"connect\.refused"):
        ServiceDown("match.no_route")


def test_an_answer_that_breaks_off_is_incomplete() -> None:
    answer = client_of(lambda _: StreamedResponse([b"half"], truncated=True)).get("/users/7")
    assert (answer.status, answer.body, answer.complete) == (200, b"half", False)


def test_a_failed_assertion_in_a_handler_comes_out_of_the_request() -> None:
    def users(request: ServiceRequest) -> Response:
        raise AssertionError(request.path)

    with pytest.raises(AssertionError, match="/users/7"):
        client_of(users).get("/users/7")


def test_a_policy_that_raises_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    def broken(x: Exchange) -> None:
        raise KeyError("oops")

    with caplog.at_level(logging.ERROR, "propylon.policies"):
        assert client_of(None, broken).get("/users/7").json()["code"] == "request.policy_failed"
    assert "oops" in caplog.text


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/users/../7", 400, "read.bad_target"),
        ("/users/a b", 400, "read.bad_request_line"),
        ("/other", 404, "match.no_route"),
    ],
)
def test_bad_and_unknown_targets_are_refused_as_on_the_wire(target: str, status: int, code: str) -> None:
    answer = client_of().get(target)
    assert (answer.status, answer.json()["code"], answer.sent) == (status, code, [])


def test_a_head_has_the_length_of_its_get_and_no_body() -> None:
    answer = client_of(Response(200, body="hello")).head("/users/7")
    assert (answer.status, answer.headers["content-length"], answer.body, answer.complete) == (200, "5", b"", True)


def test_scheme_host_and_address_of_the_client_are_what_the_test_says() -> None:
    gateway = Gateway(trusted_proxies=["10.0.0.0/8"]).route("/*", target=TARGET)
    client = TestClient(gateway, host="shop.example", scheme="https", client="192.0.2.1")
    headers = client.get("/").sent[0].headers
    assert headers["x-forwarded-for"] == "192.0.2.1"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-host"] == "shop.example"
    proxied = client.get("/", client="10.0.0.1", headers={"x-forwarded-for": "198.51.100.9"})
    assert proxied.exchange.request.client == "198.51.100.9"


def test_a_service_that_is_too_slow_is_a_504() -> None:
    async def never(_: ServiceRequest) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    answer = client_of(never, {"timeout": {"response": "10ms"}}).get("/users/7")
    assert (answer.status, answer.json()["code"]) == (504, "head.timeout")


async def test_many_requests_may_be_under_way_in_a_running_loop() -> None:
    together = asyncio.Barrier(3)

    async def users(request: ServiceRequest) -> Response:
        await together.wait()
        return Response(200, body=request.path)

    client = client_of(users)
    answers: list[Answer] = await asyncio.gather(*(client.request_async("GET", f"/users/{n}") for n in range(3)))
    assert [answer.text for answer in answers] == ["/users/0", "/users/1", "/users/2"]


async def test_the_sync_form_says_what_to_use_in_a_running_loop() -> None:
    with pytest.raises(RuntimeError, match="request_async"):
        client_of().get("/users/7")


async def test_a_cancelled_request_is_a_client_that_went_away() -> None:
    begun = asyncio.Event()
    codes: list[str] = []

    class Watch:
        def on_done(self, x: Exchange) -> None:
            codes.append(x.error.code if x.error is not None else "none")

    async def never(_: ServiceRequest) -> Response:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(client_of(never, Watch()).request_async("GET", "/users/7"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert codes == ["relay.client_gone"]


async def test_a_gateway_that_is_tested_can_also_run() -> None:
    gateway = Gateway().route("/*", target=TARGET)
    answer = await TestClient(gateway, {TARGET: Response(204)}).request_async("GET", "/")
    assert answer.status == 204
    service = next(iter(gateway.snapshot().services.values()))
    assert service is not answer.exchange.service


def test_a_gateway_from_a_file_finds_the_policies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "policies_beside_the_file.py").write_text("def keep(x):\n    x.state['kept'] = True\n")
    file = tmp_path / "gateway.yaml"
    file.write_text(
        f'routes:\n  - {{path: /*, target: "{TARGET}", policies: [{{python: "policies_beside_the_file:keep"}}]}}\n'
    )
    assert TestClient(Gateway.load(file)).get("/").exchange.state == {"kept": True}


@pytest.mark.parametrize("name", ["found", "a..B", "_", "x" * 100])
def test_a_service_whose_endpoints_are_to_be_found_is_stood_for_as_well(name: str) -> None:
    async def endpoints() -> Any:
        raise AssertionError("nobody looks for it")
        yield

    gateway = Gateway(services={name: {"discover": endpoints}})
    gateway.route("/*", service=name)
    assert TestClient(gateway, {name: Response(200, body="it")}).get("/").text == "it"


class Lived:
    """Notes its life."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def start(self) -> None:
        self.seen.append("start")

    def on_request(self, x: Exchange) -> Response:
        self.seen.append("request")
        return Response(200)

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.seen.append("close")


def test_policies_are_started_by_the_first_request_and_closed_in_the_end() -> None:
    policy = Lived()
    client = client_of(None, policy)
    assert policy.seen == []
    assert [client.get("/users/").status for _ in range(2)] == [200, 200]
    client.close()
    client.close()
    assert policy.seen == ["start", "request", "request", "close"]


def test_with_starts_and_closes_policies() -> None:
    policy = Lived()
    with client_of(None, policy) as client:
        assert policy.seen == ["start"]
        client.get("/users/")
    assert policy.seen == ["start", "request", "close"]


async def test_async_with_does_so_in_a_running_loop_and_many_first_requests_start_once() -> None:
    policy = Lived()
    async with client_of(None, policy) as client:
        assert policy.seen == ["start"]
    assert policy.seen == ["start", "close"]
    policy = Lived()
    client = client_of(None, policy)
    await asyncio.gather(*(client.request_async("GET", "/users/") for _ in range(3)))
    assert policy.seen == ["start", "request", "request", "request"]


def test_a_client_that_is_forgotten_leaves_no_task_behind() -> None:
    class Refreshes(Lived):
        def __init__(self, scope: Scope) -> None:
            super().__init__()
            self.scope = scope

        def start(self) -> None:
            self.scope.task(self.refresh())

        async def refresh(self) -> None:
            self.seen.append("task")
            await asyncio.Event().wait()

    client = client_of(None, {"python": {"use": Refreshes}})
    (placed,) = client._core.snapshot.policies
    assert client.get("/users/").status == 200
    del client
    policy: Any = placed.policy
    assert sorted(policy.seen) == ["close", "request", "task"]
    assert placed.scope.rests


def test_a_policy_that_cannot_be_started_is_told() -> None:
    class Broken(Lived):
        def start(self) -> None:
            raise OSError("no database")

    with pytest.raises(BuildError, match="no database"):
        client_of(None, Broken()).get("/users/")


def test_a_service_that_a_policy_asks_is_what_stands_for_it() -> None:
    class Auth:
        def __init__(self, scope: Scope) -> None:
            self.service = scope.service("auth")

        async def on_request(self, x: Exchange) -> Response | None:
            answer = await self.service.ask(Subrequest(b"GET", b"/check"), timeout=1, limit=100)
            return None if answer.status == 200 else Response(answer.status)

    gateway = Gateway().service("auth", ["http://127.0.0.1:3009"])
    gateway.route("/*", respond="in", policies=[{"python": {"use": Auth}}])
    assert TestClient(gateway, {"auth": Response(403)}).get("/").status == 403
    assert TestClient(gateway, {"auth": Response(200)}).get("/").text == "in"
