"""HTTP client of providers with watches: requests with bodies, and endless streams of JSON objects.

Each wait for an object has a timeout. A stream that breaks after a successful start is distinguished from a server that
cannot be reached.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson

from propylon.services.discovery import DiscoveryError
from propylon.services.discovery._http import CONNECT_TIMEOUT_S, MAX_ANSWER_BYTES, Session
from propylon.services.discovery._json_splitter import Splitter, StreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import aiohttp

REQUEST_TIMEOUT_S: Final = 10.0
"""Seconds for a complete response, and for the head of a stream."""
STEADY_S: Final = 5.0
"""Seconds after which a broken stream counts as ended, since proxies close idle ones; before, it is a failure."""
_GAP_S: Final = 0.01
_BATCH_S: Final = 0.1
_MAX_BATCH: Final = 1000
_MAX_REFUSAL_BYTES: Final = 64 * 1024
_MAX_SHOWN: Final = 200


class JsonStream:
    """The JSON objects of one response, as they arrive."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content
        self._splitter = Splitter()
        self._ready: deque[Any] = deque()

    async def next(self, seconds: float) -> Any:
        """Return the next object, or None at the end of the stream.

        Args:
            seconds: how long to wait for a complete object; an incomplete one is kept.

        Raises:
            TimeoutError: none arrived in time; reading may continue.
            LostError: the stream ended within an object.
            DiscoveryError: the data is no stream of objects.
        """
        async with asyncio.timeout(seconds):
            while not self._ready:
                data = await self._content.readany()
                try:
                    self._ready.extend(self._splitter.feed(data))
                except StreamError as error:
                    raise DiscoveryError(f"the stream of changes cannot be read: {error}") from None
                if not data and not self._ready:
                    if not self._splitter.empty:
                        raise LostError("the stream of changes ended within an object")
                    return None
        return self._ready.popleft()

    async def batch(self, seconds: float) -> list[Any]:
        """Return the next objects, batching those in quick succession; an empty list at the end of the stream.

        A deployment is hundreds of changes within a second, and a list of endpoints costs more than a change.

        Args:
            seconds: how long to wait for the first one.

        Raises:
            TimeoutError: none arrived in time; reading may continue.
            DiscoveryError: the data is no stream of objects.
        """
        each = await self.next(seconds)
        found = []
        try:
            async with asyncio.timeout(_BATCH_S):
                while each is not None:
                    found.append(each)
                    if len(found) == _MAX_BATCH:
                        break
                    each = await self.next(_GAP_S)
        except TimeoutError:
            pass
        return found


class LostError(DiscoveryError):
    """The connection broke in the body of a 2xx response."""


class RefusedError(DiscoveryError):
    """The server answered with a status that is not 2xx.

    Attributes:
        status: the status.
        text: the body, in one line.
    """

    def __init__(self, message: str, status: int, text: str) -> None:
        super().__init__(message)
        self.status = status
        self.text = text


class WatchSession(Session):
    """A session with bodies and header fields for each request, and distinct errors for refusals."""

    @asynccontextmanager
    async def ask(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and yield its response after the head; the body has no time limit.

        Args:
            path: begins with `/` and is percent-encoded already.
            params: the query.
            body: sent as JSON by POST; None sends a GET.
            headers: in addition to those of the session.

        Raises:
            RefusedError: for a status that is not 2xx.
            LostError: for failures in the block.
            DiscoveryError: for failures before it.
        """
        import aiohttp
        from yarl import URL

        assert self._http is not None, "a session is entered first"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
        url = URL(self._base + path, encoded=True).extend_query(params or {})
        data = None if body is None else orjson.dumps(body)
        lost: type[DiscoveryError] = DiscoveryError
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                response = await self._http.request(
                    "GET" if data is None else "POST", url, data=data, headers=headers, timeout=timeout,
                    allow_redirects=False, server_hostname=self._tls.server_name,
                )  # fmt: skip
            async with response:
                if not 200 <= response.status < 300:
                    raise await self._refused(path, response)
                lost = LostError
                yield response
        except TimeoutError:
            raise lost(f"{self.server} did not answer {path} in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise lost(f"{self.server}{path}: {str(error) or type(error).__name__}") from None

    async def ask_json(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the JSON document of a response; the parameters are those of `ask`."""
        async with self.ask(path, params=params, body=body, headers=headers) as response:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                raw = await _bounded(response, MAX_ANSWER_BYTES)
        if len(raw) > MAX_ANSWER_BYTES:
            raise DiscoveryError(f"{self.server} answered {path} with more than {MAX_ANSWER_BYTES} bytes")
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise DiscoveryError(f"{self.server} answered {path} with what is no JSON: {error}") from None

    async def _refused(self, path: str, response: aiohttp.ClientResponse) -> RefusedError:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            raw = await _bounded(response, _MAX_REFUSAL_BYTES)
        text = " ".join(raw[:_MAX_REFUSAL_BYTES].decode("utf-8", "replace").split())
        shown = "".join(mark for mark in text if mark.isprintable())[:_MAX_SHOWN]
        what = f"{response.status} {response.reason or ''}".rstrip()
        message = f"{self.server} answered {path} with {what}" + (f": {shown}" if shown else "")
        return RefusedError(message, response.status, text)


async def _bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the body; a longer one is cut after more than `limit` bytes."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            break
    return bytes(body)
