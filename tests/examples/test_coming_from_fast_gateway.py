"""The example for people who come from fast-gateway, driven with requests."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest

from tests.support.client import RawClient, Reply, request_bytes

FOLDER = Path(__file__).parents[2] / "examples" / "coming-from-fast-gateway"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fast_gateway_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def remote() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), load("remote").Remote) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def remotes() -> Iterator[tuple[str, str]]:
    with remote() as one, remote() as two:
        yield one, two


@pytest.fixture
async def client(remotes: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RawClient]:
    monkeypatch.setenv("LISTEN", "127.0.0.1:0")
    async with load("gateway").build(*remotes) as gateway, RawClient(gateway.port) as client:
        yield client


async def ask(client: RawClient, target: str, *lines: bytes, method: str = "GET", host: str = "a.example") -> Reply:
    body = b"" if method in ("POST", "PUT") else None
    return await client.ask(
        request_bytes(target.encode(), *lines, method=method.encode(), body=body, host=host.encode())
    )


PATHS = [
    ("GET", "/users/info", "/info"),
    ("GET", "/users", "/"),
    ("GET", "/users?a=1&a=2&b=x%20y", "/?a=1&a=2&b=x%20y"),
    ("GET", "/old/a", "/new/a"),
    ("POST", "/exact", "/exact"),
    ("GET", "/regex/match", "/info"),
    ("GET", "/regex/match/deeply/nested", "/info"),
    ("GET", "/customers/5", "/people/5"),
    ("GET", "/qs?name=nodejs", "/qs?name=gateway"),
    ("GET", "/qs2?name=nodejs&x=1", "/qs?name=qs2&x=1"),
    ("GET", "/marked/a", "/a"),
    ("GET", "/balanced/4", "/item/4"),
]


@pytest.mark.parametrize(("method", "target", "sent"), PATHS)
async def test_what_the_service_is_asked(client: RawClient, method: str, target: str, sent: str) -> None:
    told = (await ask(client, target, method=method)).json()
    assert (told["method"], told["path"]) == (method, sent)


STATUSES = [
    ("GET", "/private/a", 401),
    ("PUT", "/exact", 405),
    ("GET", "/exactly", 404),
    ("GET", "/Users/info", 404),
    ("OPTIONS", "/users/info", 204),
    ("GET", "/slow", 504),
    ("GET", "/down", 503),
    ("GET", "/nowhere", 404),
]


@pytest.mark.parametrize(("method", "target", "status"), STATUSES)
async def test_what_the_gateway_answers_itself(client: RawClient, method: str, target: str, status: int) -> None:
    reply = await ask(client, target, method=method)
    assert reply.status == status
    assert reply.header("access-control-allow-origin") == "*"


async def test_the_key_opens_the_private_route(client: RawClient) -> None:
    assert (await ask(client, "/private/a", b"x-key: s3cret")).json()["path"] == "/a"


async def test_headers_are_rewritten_on_their_route_only(client: RawClient) -> None:
    assert (await ask(client, "/marked/a")).header("post-processed") == "true"
    assert (await ask(client, "/users/a")).header("post-processed") is None


async def test_the_response_is_transformed(client: RawClient) -> None:
    reply = await ask(client, "/transformed/a")
    assert reply.json()["transformed"] is True
    assert reply.header("content-length") == str(len(reply.body))


async def test_a_policy_chooses_the_endpoint(client: RawClient, remotes: tuple[str, str]) -> None:
    hosts: list[Any] = [(await ask(client, f"/balanced/{number}")).json()["headers"]["host"] for number in range(4)]
    assert [f"http://{host}" for host in hosts] == [*remotes, *remotes]


async def test_two_answers_are_aggregated(client: RawClient) -> None:
    assert [answer["path"] for answer in (await ask(client, "/both")).json()] == ["/a", "/b"]


async def test_the_fallback_answers_for_a_service_that_is_down(client: RawClient) -> None:
    assert (await ask(client, "/down")).json() == {"fallback": True}


async def test_a_host_leads_to_its_prefix(client: RawClient) -> None:
    assert (await ask(client, "/x", host="eu.company.tld")).json()["path"] == "/company/x"


async def test_services_json_is_as_it_was(client: RawClient) -> None:
    entries = (await ask(client, "/services.json")).json()
    assert entries[0] == {"prefix": "/users", "docs": {"name": "Users", "endpoint": "/docs"}}
    assert entries[1] == {"prefix": "/private"}
