"""HTTP client of providers: a session with one server, bounded JSON responses, and error messages.

Rules of the file:

- Every response is bounded in size and every wait in time; a redirect is an error, so that no token is sent elsewhere.
- A failure is a `DiscoveryError` that names the server and the path, never a query, a header or a token.
- The HTTP library is an extra and is imported with the first session; providers call `require_aiohttp` when made.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import Bool, ExistingFile, Text
from propylon.outbound.tls import client_context
from propylon.services.discovery import DiscoveryError
from propylon.tls import TlsError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

    import aiohttp

    Params = Mapping[str, str] | list[tuple[str, str]]

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""Maximum bytes of one JSON document; 10,000 endpoints of Consul have about 10 MB."""
CONNECT_TIMEOUT_S: Final = 5.0
"""Seconds to connect, TLS included."""
_MAX_SHOWN: Final = 200


class TlsConfig(BaseModel):
    """TLS with the server of a provider."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verify: Bool = Field(default=True, description="Check the server's certificate. False is for tests only.")
    ca: ExistingFile | None = Field(
        default=None, description="PEM file of the trusted CA certificates, instead of the system's."
    )
    certificate: ExistingFile | None = Field(default=None, description="PEM file of the client certificate.")
    key: ExistingFile | None = Field(default=None, description="PEM file of the private key of the client certificate.")
    server_name: Text | None = Field(
        default=None, description="Name for SNI and verification, instead of the server's host."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.key is not None and self.certificate is None:
            raise ValueError("'key' is of no use without 'certificate': add the certificate's PEM file")
        if not self.verify and self.ca is not None:
            raise ValueError("'ca' is of no use with 'verify: false': remove one of the two")
        return self

    def context(self) -> ssl.SSLContext:
        """Read the files and return the TLS context. Raises `TlsError`."""
        ca, certificate, key = (str(file) if file else None for file in (self.ca, self.certificate, self.key))
        return client_context(self.verify, ca, certificate, key)


class ApiResponse(NamedTuple):
    """A JSON document and the header fields of its response."""

    data: Any
    headers: Mapping[str, str]


class Session:
    """Connections to one server, kept between requests; an async context manager."""

    def __init__(self, base: str, tls: TlsConfig, headers: Mapping[str, str], unix_path: str | None) -> None:
        self._base = base.rstrip("/")
        self._tls = tls
        self._headers = {"accept": "application/json", "accept-encoding": "identity", **headers}
        self._unix_path = unix_path
        self._http: aiohttp.ClientSession | None = None

    @property
    def server(self) -> str:
        """Name of the server in messages."""
        return f"unix:{self._unix_path}" if self._unix_path else self._base

    async def __aenter__(self) -> Self:
        import aiohttp

        connector = await self._connector()
        self._http = aiohttp.ClientSession(
            connector=connector, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    @asynccontextmanager
    async def request(
        self, path: str, *, params: Params | None = None, total: float | None, idle: float | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a GET and yield its 2xx response before the body is read.

        Args:
            path: begins with `/` and is percent-encoded already.
            params: the query.
            total: seconds for the whole exchange, including reading the body in the block; None for a stream.
            idle: seconds between two reads.

        Raises:
            DiscoveryError: for another status, and for failures until the end of the block.
        """
        import aiohttp
        from yarl import URL

        assert self._http is not None, "a session is entered first"
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_TIMEOUT_S, sock_read=idle)
        url = URL(self._base + path, encoded=True).extend_query(params or {})
        try:
            async with self._http.get(
                url, timeout=timeout, allow_redirects=False, server_hostname=self._tls.server_name
            ) as response:
                if not 200 <= response.status < 300:
                    raise DiscoveryError(f"{self.server} answered {path} with {await _status_and_text(response)}")
                yield response
        except TimeoutError:
            raise DiscoveryError(f"{self.server} did not answer {path} in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise DiscoveryError(f"{self.server}{path}: {str(error) or type(error).__name__}") from None

    async def get_json(
        self, path: str, *, params: Params | None = None, timeout: float, limit: int = MAX_ANSWER_BYTES
    ) -> ApiResponse:
        """Return the JSON document of a GET.

        Args:
            path, params: as for `request`.
            timeout: seconds for the whole exchange.
            limit: maximum bytes of the document.

        Raises:
            DiscoveryError: the request failed, or the response is no such document.
        """
        async with self.request(path, params=params, total=timeout) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise DiscoveryError(f"{self.server} answered {path} with more than {limit} bytes")
            headers = response.headers
        try:
            return ApiResponse(orjson.loads(body), headers)
        except orjson.JSONDecodeError as error:
            raise DiscoveryError(f"{self.server} answered {path} with what is no JSON: {error}") from None

    async def _connector(self) -> aiohttp.BaseConnector:
        import aiohttp

        connector: aiohttp.BaseConnector
        if self._unix_path is not None:
            connector = aiohttp.UnixConnector(path=self._unix_path)
            return connector
        plain = self._base.lower().startswith("http:")
        try:
            # Loading the system's CA certificates takes tens of milliseconds, which would block the event loop.
            context = False if plain else await asyncio.to_thread(self._tls.context)  # False disables verification
        except TlsError as error:
            raise DiscoveryError(f"TLS with {self.server}: {error}") from None
        connector = aiohttp.TCPConnector(ssl=context)
        return connector


def open_session(
    base: str, *, tls: TlsConfig | None = None, headers: Mapping[str, str] | None = None, unix_path: str | None = None
) -> Session:
    """Return a session; entering it reads the TLS files, and both may raise `DiscoveryError`.

    Args:
        base: `http://host:port` or `https://host:port`, with an optional path; prefix of all paths.
        tls: settings for https.
        headers: sent with every request, for example a token.
        unix_path: Unix socket to connect to instead of the address in `base`.
    """
    return Session(base, tls or TlsConfig(), headers or {}, unix_path)


def require_aiohttp() -> None:
    """Raise `DiscoveryError` unless the library is installed; for constructors of providers, before anything starts."""
    if find_spec("aiohttp") is None:
        raise DiscoveryError(
            "this provider needs the package aiohttp: install it with pip install 'propylon[discovery]'"
        )


async def _status_and_text(response: aiohttp.ClientResponse) -> str:
    """Return the status and the beginning of the body."""
    raw = await response.content.read(4 * _MAX_SHOWN)
    text = " ".join(raw.decode("utf-8", "replace").split())
    shown = "".join(mark for mark in text if mark.isprintable())[:_MAX_SHOWN]
    return f"{response.status} {response.reason or ''}".rstrip() + (f": {shown}" if shown else "")
