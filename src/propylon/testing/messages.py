"""Responses that a test gives for services, and what it records of both ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import orjson

from propylon.engine.response import Response
from propylon.failures import FAILURES

if TYPE_CHECKING:
    from propylon.engine.client_certificate import ClientCertificate
    from propylon.engine.exchange import Exchange
    from propylon.http.headers import Headers


class ServiceDown(Exception):
    """A failure of a service instead of a response: raised or returned by a handler, or given in place of one."""

    def __init__(self, code: str = "connect.refused") -> None:
        """Take a code of `connect.*`, `attempt.*` or `head.*` of the table of errors. Raises `ValueError`."""
        if code not in FAILURES or not code.startswith(("connect.", "attempt.", "head.")):
            raise ValueError(f"a service fails with connect.*, attempt.* or head.*, as connect.refused; not {code!r}")
        super().__init__(code)
        self.code = code


class StreamedResponse(Response):
    """A service's response with a body in pieces, without a length.

    Attributes:
        pieces: the body.
        truncated: whether the service closes the connection after them, before the end of the body.
    """

    __slots__ = ("pieces", "truncated")

    def __init__(
        self,
        pieces: Iterable[bytes],
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        truncated: bool = False,
    ) -> None:
        super().__init__(status, headers=headers)
        self.pieces = tuple(pieces)
        self.truncated = truncated


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """A request as received by a service.

    Attributes:
        service: the service's name; of a `target:`, its URL.
        endpoint: the URL of the endpoint.
        path: the path after every rewrite, with the endpoint's base path.
    """

    service: str
    endpoint: str
    method: str
    path: str
    query: str | None
    headers: Headers
    body: bytes

    def json(self) -> Any:
        """Return the body, decoded from JSON. Raises `ValueError` if it is not JSON."""
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to a request.

    Attributes:
        status: 0 if the connection was closed before the head.
        complete: whether the body is complete; False if the connection was closed before its end.
        exchange: the finished exchange: its route, state, error, attempts.
        sent: the requests that services received for it, in order.
    """

    status: int
    headers: Headers
    body: bytes
    complete: bool
    exchange: Exchange
    sent: list[ServiceRequest]

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """Return the body, decoded from JSON. Raises `ValueError` if it is not JSON."""
        return orjson.loads(self.body)


Reply = Response | ServiceDown
Handler = Reply | Callable[[ServiceRequest], Reply | Awaitable[Reply]]


class RequestOptions(TypedDict, total=False):
    """The options of a request besides method and target.

    headers: a mapping, or pairs for repeated names.
    body: bytes, text (UTF-8), or pieces that arrive one by one, without a length.
    json: a body to be encoded, with `application/json` as content type.
    client: the client's address, instead of the test client's.
    client_certificate: the client's certificate in the TLS handshake.
    """

    headers: Mapping[str, str] | Iterable[tuple[str, str]]
    body: bytes | str | Iterable[bytes]
    json: Any
    client: str
    client_certificate: ClientCertificate
