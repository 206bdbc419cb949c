"""What a test says for a service, and what it gets to see of both ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import orjson

from propylon.engine.message import Response
from propylon.failures import FAILURES

if TYPE_CHECKING:
    from propylon.engine.client_certificate import ClientCertificate
    from propylon.engine.exchange import Exchange
    from propylon.http.headers import Headers


class ServiceDown(Exception):
    """How a service fails instead of answering: raised or returned by a handler, or given in its place."""

    def __init__(self, code: str = "connect.refused") -> None:
        """Take a code of `connect.*`, `attempt.*` or `head.*` of the table of errors. Raises `ValueError`."""
        if code not in FAILURES or not code.startswith(("connect.", "attempt.", "head.")):
            raise ValueError(f"a service fails with connect.*, attempt.* or head.*, as connect.refused; not {code!r}")
        super().__init__(code)
        self.code = code


class StreamedResponse(Response):
    """A service's answer whose body comes in pieces, without a length.

    Attributes:
        pieces: the body.
        truncated: the service closes the connection behind them, before the body's end.
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
    """A request as a service received it.

    Attributes:
        service: the service's name; of a `target:`, its URL.
        endpoint: the URL of the endpoint.
        path: behind every rewrite, with the endpoint's base path.
    """

    service: str
    endpoint: str
    method: str
    path: str
    query: str | None
    headers: Headers
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON. Raises `ValueError` if it is none."""
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: 0 if the connection was cut before there was one.
        complete: the body arrived whole; False if the connection was cut.
        exchange: the exchange, which is over: its route, state, error, attempts.
        sent: what services received for it, in order.
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
        """Return the body as JSON. Raises `ValueError` if it is none."""
        return orjson.loads(self.body)


Reply = Response | ServiceDown
Handler = Reply | Callable[[ServiceRequest], Reply | Awaitable[Reply]]


class RequestOptions(TypedDict, total=False):
    """What a request may have besides method and target.

    headers: a mapping, or pairs where a name comes twice.
    body: bytes, text (UTF-8), or pieces that arrive one by one, without a length.
    json: a body to be encoded, with its content type.
    client: the address the request comes from, instead of the test client's.
    client_certificate: what the client has shown in the TLS handshake.
    """

    headers: Mapping[str, str] | Iterable[tuple[str, str]]
    body: bytes | str | Iterable[bytes]
    json: Any
    client: str
    client_certificate: ClientCertificate
