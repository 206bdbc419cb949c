"""Runs the tests of a configuration: requests pass the whole gateway, with services in memory."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from propylon.engine.response import Response
from propylon.gateway import Gateway
from propylon.routing.match import Regex
from propylon.testing import ServiceDown, TestClient

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from propylon.config.schema import GatewayConfig
    from propylon.config.schema.expectation import ExpectedConfig, RequestTestConfig, SentConfig
    from propylon.http.headers import Headers
    from propylon.testing import Answer, ServiceRequest

REQUEST_SECONDS: Final = 10.0
"""Timeout of one request: policies are user code and may block."""

NONE: Final = "none"
_MAX_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed expectation."""

    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.what}: expected {_cut(self.expected)}, found {_cut(self.found)}"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one test; it has passed if there is no failure."""

    name: str
    failures: tuple[Failure, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return {"name": self.name, "passed": not self.failures, "failures": [asdict(each) for each in self.failures]}


def name_of(test: RequestTestConfig) -> str:
    """Return the name of a test, by default its request."""
    return test.name or test.request


def run_tests(config: GatewayConfig, base_dir: Path, tests: Iterable[RequestTestConfig]) -> list[Result]:
    """Run tests in sequence, each with its own request to the same gateway.

    Raises:
        BuildError: a configured object cannot be created, or a policy cannot be started.
    """
    runner = _Runner(config, base_dir)

    async def run() -> list[Result]:
        try:
            return [await runner.run(test) for test in tests]
        finally:
            await runner.close()

    return asyncio.run(run())


class _Runner:
    """One gateway, with a client for each scheme and listener, and stand-ins for its services."""

    def __init__(self, config: GatewayConfig, base_dir: Path) -> None:
        gateway = Gateway.from_config(config, base_dir)
        self._gateway = gateway
        self._services = dict.fromkeys(gateway.snapshot().services, self._answer)
        self._clients: dict[tuple[str | None, str | None], TestClient] = {}
        self._test: RequestTestConfig | None = None

    def _answer(self, _: ServiceRequest) -> Response | ServiceDown:
        answer = self._test.answer if self._test is not None else None
        if answer is None:
            return Response(200, body="ok")
        if answer.failure is not None:
            return ServiceDown(answer.failure)
        return Response(answer.status, headers=answer.headers, body=answer.body)

    def _client(self, scheme: str | None, listener: str | None) -> TestClient:
        """Return the client of a scheme and listener."""
        found = self._clients.get((scheme, listener))
        if found is None:
            found = TestClient(self._gateway, self._services, scheme=scheme, listener=listener)
            self._clients[scheme, listener] = found
        return found

    async def run(self, test: RequestTestConfig) -> Result:
        """Send the request of a test, and compare the result with the expectations."""
        self._test = test
        method, scheme, host, target = test.parts
        headers = {"host": host, **test.headers}
        options: Any = {"headers": headers, "client": test.client}
        if test.body is not None:
            options["body"] = test.body
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                answer = await self._client(scheme, test.listener).request_async(method, target, **options)
        except TimeoutError:
            return Result(name_of(test), (Failure("answer", "one", f"none within {REQUEST_SECONDS:.0f} s"),))
        return Result(name_of(test), tuple(_compared(test.expect, answer)))

    async def close(self) -> None:
        """Close the policies."""
        for client in self._clients.values():
            await client.close_async()


def _compared(expected: ExpectedConfig, answer: Answer) -> Iterator[Failure]:
    x = answer.exchange
    route = x.snapshot.outside if x.route is None else x.route
    sent = answer.sent[-1] if answer.sent else None
    if expected.status is not None and answer.status != expected.status:
        reason = f" ({x.error.code})" if x.error is not None else ""
        yield Failure("status", str(expected.status), f"{answer.status or 'a connection that was cut'}{reason}")
    if expected.route is not None:
        yield from _same("route", expected.route, NONE if route is x.snapshot.outside else route.name)
    if expected.service is not None:
        asked = x.service.name if x.service is not None and x.endpoint is not None else NONE
        if asked not in expected.service:
            yield Failure("service", " or ".join(expected.service), asked)
    if expected.path is not None:
        yield from _same("path", expected.path, NONE if sent is None else _path(sent, "?" in expected.path))
    if expected.policies is not None:
        yield from _same("policies", ", ".join(expected.policies), ", ".join(use.name for use in route.policies))
    yield from _fields("header", expected.headers, expected.absent, answer.headers)
    if expected.body is not None:
        yield from _same("body", expected.body, answer.body.decode("utf-8", "replace"))
    if expected.sent is not None:
        yield from _compared_sent(expected.sent, sent)


def _compared_sent(expected: SentConfig, sent: ServiceRequest | None) -> Iterator[Failure]:
    if sent is None:
        yield Failure("sent", "a request to a service", NONE)
        return
    if expected.method is not None:
        yield from _same("sent method", expected.method, sent.method)
    if expected.host is not None:
        yield from _same("sent host", expected.host, sent.headers.get("host") or NONE)
    yield from _fields("sent header", expected.headers, expected.absent, sent.headers)
    if expected.body is not None:
        yield from _same("sent body", expected.body, sent.body.decode("utf-8", "replace"))


def _path(sent: ServiceRequest, with_query: bool) -> str:
    return f"{sent.path}?{sent.query}" if with_query and sent.query is not None else sent.path


def _same(what: str, expected: str, found: str) -> Iterator[Failure]:
    if expected != found:
        yield Failure(what, expected or NONE, found or NONE)


def _fields(
    what: str, expected: Mapping[str, str | Regex], absent: Iterable[str], headers: Headers
) -> Iterator[Failure]:
    for name, value in expected.items():
        found = headers.get(name)
        required = f"what matches {value.pattern}" if isinstance(value, Regex) else "any" if value == "*" else value
        if found is None or not _holds(value, found):
            yield Failure(f"{what} {name}", required, NONE if found is None else found)
    for name in absent:
        if (found := headers.get(name)) is not None:
            yield Failure(f"{what} {name}", NONE, found)


def _holds(required: str | Regex, found: str) -> bool:
    if isinstance(required, Regex):
        return re.fullmatch(required.pattern, found) is not None
    return required in ("*", found)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
