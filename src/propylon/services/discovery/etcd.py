"""Endpoints from etcd 3.4 or newer: each key below a prefix is one endpoint.

    discover:
      etcd:
        endpoints: [http://10.0.0.1:2379, http://10.0.0.2:2379]
        prefix: /services/users/

A value is a URL, or JSON: `{"url": "http://10.0.0.3:80", "weight": 2, "priority": 0, "zone": "a"}`. Keys with a lease
expire with it, so an instance is found as long as it keeps its lease alive.

The keys are read once, and watched from the next revision, so no change is missed. If that revision has been compacted,
they are read again. If a member fails, or loses its leader, the next one is used.

Source: etcd's pages "Why gRPC gateway" (the JSON form of the API), "API" (Range, Watch), and "Authentication".
"""

from __future__ import annotations

import asyncio
import base64
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from propylon.address import AddressError, EndpointAddress
from propylon.config.types import ListedSome, Text
from propylon.services.discovery import DiscoveryError
from propylon.services.discovery._etcd_keys import MAX_KEYS, Keys, prefix_end
from propylon.services.discovery._http import TlsConfig, require_aiohttp
from propylon.services.discovery._watch_stream import STEADY_S, JsonStream, LostError, WatchSession

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from propylon.services.discovery import EndpointSpec, ProviderContext

IDLE_S: Final = 60.0
"""Seconds without a message until the watch is reopened, to detect dead connections."""
_PAUSE_S: Final = 0.5  # delay before a refused watch is retried, to avoid a busy loop
# Error messages of etcd for an expired token, after a restart, and after a change of users.
_STALE_TOKEN: Final = ("invalid auth token", "auth store is old", "user name is empty")
# Ends a watch when the member loses its leader, as its keys may be stale (clientv3: WithRequireLeader).
_REQUIRE_LEADER: Final = {"grpc-metadata-hasleader": "true"}


def _member_url(value: str) -> str:
    try:
        address = EndpointAddress.parse(value)
    except AddressError as error:
        raise ValueError(str(error)) from None
    if address.unix_path is not None or address.base_path:
        raise ValueError("not the address of a member: write http://host:2379 or https://host:2379")
    return value.rstrip("/")


class Config(BaseModel):
    """Addresses of etcd, and the keys to read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoints: Annotated[ListedSome[Annotated[Text, AfterValidator(_member_url)]], Field(max_length=16)] = Field(
        default=("http://127.0.0.1:2379",),
        description="URLs of the cluster's members; if one fails, the next one is used.",
    )  # fmt: skip
    prefix: Text = Field(description="Prefix of the keys; end it with `/`, since `users` also matches `users2`.")
    user: Text | None = Field(default=None, description="Name of an etcd user, if authentication is enabled.")
    password: Text | None = Field(default=None, repr=False, description="The user's password.")
    tls: TlsConfig = Field(default=TlsConfig(), description="TLS with the members.")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("'user' and 'password' belong together: give both or none")
        if "tls" in self.model_fields_set and not all(url.lower().startswith("https:") for url in self.endpoints):
            raise ValueError("'tls' is for endpoints with https://: write https:// in all of them")
        return self


class Provider:
    """Discovery by the keys below one prefix."""

    def __init__(self, config: Config, context: ProviderContext) -> None:
        require_aiohttp()
        self._config = config
        self._member_index = 0
        self._keys = Keys()

    async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
        """Yield the endpoints, initially and after each change; raises when each member has failed once."""
        last: tuple[EndpointSpec, ...] | None = None
        failures = []
        for _ in self._config.endpoints:
            member = self._config.endpoints[self._member_index % len(self._config.endpoints)]
            try:
                async with aclosing(self._follow(member)) as lists:
                    async for found in lists:
                        if found != last:
                            last = found
                            yield found
            except DiscoveryError as error:
                failures.append(str(error))
                self._member_index += 1
        raise DiscoveryError("; ".join(failures))

    async def _follow(self, member: str) -> AsyncGenerator[tuple[EndpointSpec, ...]]:
        async with WatchSession(member, self._config.tls, {}, None) as session:
            etcd = _Member(session, self._config)
            try:
                while True:
                    self._keys.replace(await etcd.range())
                    yield self._keys.found()
                    async with aclosing(etcd.changes(self._keys)) as changes:
                        async for _ in changes:
                            yield self._keys.found()
                    await asyncio.sleep(_PAUSE_S)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise DiscoveryError(f"{member} answers in a form that is not etcd's: {error!r}") from None


class _Member:
    """A member of the cluster, with its token."""

    def __init__(self, session: WatchSession, config: Config) -> None:
        self._session = session
        self._config = config
        self._token: str | None = None
        key = config.prefix.encode()
        self._keys = {"key": _base64(key), "range_end": _base64(prefix_end(key))}

    async def range(self) -> Any:
        """Return all keys and their revision."""
        if self._token is None:
            await self._log_in()
        body = {**self._keys, "limit": MAX_KEYS}
        return await self._session.ask_json("/v3/kv/range", body=body, headers=self._headers())

    async def changes(self, keys: Keys) -> AsyncGenerator[None]:
        """Apply changes to `keys`, and yield after each batch; ends when the revision has been compacted."""
        loop = asyncio.get_running_loop()
        logged_in = False
        while True:
            cancellation, begun = None, loop.time()
            try:
                async with self._watch(keys.revision + 1) as stream:
                    while cancellation is None and (results := await self._next(stream)):
                        cancellation = next((each for each in results if each.get("canceled")), None)
                        logged_in = logged_in and cancellation is not None
                        applied = [keys.apply(each) for each in results if each is not cancellation]
                        if any(applied):
                            yield
            except LostError:
                if loop.time() - begun < STEADY_S:
                    raise
            if cancellation is None:
                continue
            if int(cancellation.get("compact_revision", 0)):
                return
            reason = str(cancellation.get("cancel_reason", "it gives no reason"))
            if logged_in or not self._is_stale_token(reason):
                raise DiscoveryError(f"{self._session.server} ended the watch: {reason}")
            await asyncio.sleep(_PAUSE_S)
            await self._log_in()
            logged_in = True

    @asynccontextmanager
    async def _watch(self, revision: int) -> AsyncIterator[JsonStream]:
        body = {"create_request": {**self._keys, "start_revision": revision, "progress_notify": True}}
        headers = {**self._headers(), **_REQUIRE_LEADER}
        async with self._session.ask("/v3/watch", body=body, headers=headers) as response:
            yield JsonStream(response)

    async def _next(self, stream: JsonStream) -> list[Any]:
        """Return the next messages; an empty list if none arrived for `IDLE_S`."""
        try:
            messages = await stream.batch(IDLE_S)
        except TimeoutError:
            return []
        error = next((each["error"] for each in messages if "error" in each), None)
        if error is not None:
            raise DiscoveryError(f"{self._session.server} ended the watch: {error.get('message')}")
        if not messages:
            raise LostError(f"{self._session.server} ended the watch")
        return [each["result"] for each in messages]

    async def _log_in(self) -> None:
        if self._config.user is not None:
            body = {"name": self._config.user, "password": self._config.password}
            self._token = str((await self._session.ask_json("/v3/auth/authenticate", body=body))["token"])

    def _headers(self) -> dict[str, str]:
        return {"authorization": self._token} if self._token else {}

    def _is_stale_token(self, reason: str) -> bool:
        return self._config.user is not None and any(text in reason for text in _STALE_TOKEN)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
