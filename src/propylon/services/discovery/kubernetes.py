"""Endpoints from Kubernetes: the ready pods of a service, by its EndpointSlices.

    discover:
      kubernetes: {namespace: shop, service: users, port: http}

Requests go directly to the pods, so they are balanced by the gateway and not by the cluster. In a pod the service
account is used; it needs the verbs `list` and `watch` for `endpointslices` of the group `discovery.k8s.io`. Elsewhere
set `kubeconfig`.

The slices are listed once and then watched; a watch that ends is resumed, and if its resourceVersion has expired (410
Gone), the slices are listed again. A pod that is terminating but serving gets no new requests.

Source: Kubernetes' pages "EndpointSlices", "Kubernetes API Concepts" (sections "Efficient detection of changes",
"Watch bookmarks", "Retrieving large results sets in chunks").
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from propylon.config.types import ExistingFile, Text
from propylon.services.discovery import DiscoveryError
from propylon.services.discovery._http import require_aiohttp
from propylon.services.discovery._kubernetes_access import Access, AccessError, from_kubeconfig, in_cluster
from propylon.services.discovery._kubernetes_slices import MAX_SLICES, ExpiredError, Slices, Wanted
from propylon.services.discovery._watch_stream import STEADY_S, JsonStream, LostError, RefusedError, WatchSession

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from propylon.services.discovery import EndpointSpec, ProviderContext

log = logging.getLogger("propylon.discovery")

PAGE: Final = 500
"""Slices per page of a list."""
WATCH_S: Final = 120
"""Seconds after which the server ends a watch, plus a random time of up to as many, so that gateways do not
synchronize."""
MIN_INTERVAL_S: Final = 1.0
"""Minimum seconds from the start of one watch to the next one."""
_GRACE_S: Final = 15.0
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("not a name of Kubernetes: write small letters, digits and -, 63 characters at the most")
    return value


def _port(value: object) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise ValueError("not a port: write its name, for example http, or a number of 1 to 65535")


Name = Annotated[Text, AfterValidator(_name)]
Port = Annotated[
    int | str, PlainValidator(_port), WithJsonSchema({"type": ["integer", "string"], "examples": ["http", 8080]})
]


class Config(BaseModel):
    """Which service, and how to connect to its cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: Name | None = Field(
        default=None, description="Name of the Kubernetes service; by default the service's own."
    )
    namespace: Name | None = Field(
        default=None, description="Namespace of the service; by default that of the pod or of the kubeconfig's context."
    )
    port: Port | None = Field(
        default=None, description="Name of the service's port, or number of the pods' port; by default the only one."
    )
    scheme: Literal["http", "https"] | None = Field(
        default=None, description="By default `https` for a port with `appProtocol: https`, `http` for others."
    )
    family: Literal["ipv4", "ipv6"] = Field(default="ipv4", description="Address family of dual-stack pods.")
    kubeconfig: ExistingFile | None = Field(
        default=None, description="Path of a kubeconfig; by default the service account of the pod."
    )
    context: Text | None = Field(default=None, description="Context of the kubeconfig; by default its current one.")

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.kubeconfig is not None:
            from_kubeconfig(self.kubeconfig, self.context)
        elif self.context is not None:
            raise ValueError("'context' is of no use without 'kubeconfig': give the path of the file")
        return self


class Provider:
    """Discovery by the EndpointSlices of one service."""

    def __init__(self, config: Config, context: ProviderContext) -> None:
        require_aiohttp()
        self._config = config
        self._service = config.service or context.service
        self._wanted = Wanted(config.port, config.scheme, config.family)
        self._slices = Slices()

    async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
        """Yield the endpoints, initially and after each change."""
        if not _NAME.fullmatch(self._service):
            raise DiscoveryError(f"{self._service!r} is no name of a Kubernetes service: give 'service'")
        last: tuple[EndpointSpec, ...] | None = None
        async with AsyncExitStack() as stack:
            api = await self._open(stack)
            changes = await stack.enter_async_context(aclosing(self._changes(api)))
            async for _ in changes:
                try:
                    found = self._slices.found(self._wanted)
                except (KeyError, TypeError, AttributeError, IndexError) as error:
                    raise DiscoveryError(f"an EndpointSlice has another form than v1: {error!r}") from None
                if found != last:
                    last = found
                    yield found

    def _access(self) -> Access:
        path = self._config.kubeconfig
        return in_cluster() if path is None else from_kubeconfig(path, self._config.context)

    async def _open(self, stack: AsyncExitStack) -> _Api:
        try:
            access = await asyncio.to_thread(self._access)
            with TemporaryDirectory(prefix="propylon-") as folder:
                session = WatchSession(access.server, access.tls(Path(folder)), {}, None)
                await stack.enter_async_context(session)
        except AccessError as error:
            raise DiscoveryError(str(error)) from None
        return _Api(session, access, self._config.namespace or access.namespace or "default", self._service)

    async def _changes(self, api: _Api) -> AsyncGenerator[None]:
        """Yield after the initial list of slices, and after each change."""
        loop = asyncio.get_running_loop()
        listed = False
        while True:
            started = loop.time()
            try:
                if not listed:
                    self._slices.replace(*await api.all())
                    listed = True
                    if not len(self._slices):
                        log.warning("there is no EndpointSlice %s", api.what)
                    yield
                async with aclosing(api.events(self._slices.version)) as batches:
                    async for events in batches:
                        changes = [self._slices.apply(event) for event in events]
                        if any(changes):
                            yield
            except ExpiredError:
                listed = False
            except LostError:
                if not listed or loop.time() - started < STEADY_S:
                    raise
            except (KeyError, TypeError, AttributeError) as error:
                raise DiscoveryError(f"the API server answers in another form than it should: {error!r}") from None
            await asyncio.sleep(max(0.0, started + MIN_INTERVAL_S - loop.time()))


class _Api:
    """API requests for the slices of one service."""

    def __init__(self, session: WatchSession, access: Access, namespace: str, service: str) -> None:
        self._session = session
        self._access = access
        self._path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        self._selector = {"labelSelector": f"kubernetes.io/service-name={service}"}
        self.what = f"of a service {service} in the namespace {namespace}"

    async def all(self) -> tuple[list[Any], str]:
        """Return all slices, and their resourceVersion.

        Raises:
            ExpiredError: the continue token of a page has expired.
        """
        items: list[Any] = []
        token = ""
        while True:
            params = {**self._selector, "limit": str(PAGE)} | ({"continue": token} if token else {})
            try:
                page = await self._session.ask_json(self._path, params=params, headers=self._headers())
            except RefusedError as error:
                raise _discovery_error(error) from None
            items += page.get("items") or ()
            token = page["metadata"].get("continue") or ""
            if not token or len(items) > MAX_SLICES:
                return items, page["metadata"]["resourceVersion"]

    async def events(self, version: str) -> AsyncGenerator[list[Any]]:
        """Yield the events of one watch until the server ends it, after `WATCH_S` to twice as long.

        Raises:
            ExpiredError: the resourceVersion has expired.
        """
        seconds = WATCH_S + random.randrange(WATCH_S)  # noqa: S311
        params = {
            **self._selector, "watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }  # fmt: skip
        try:
            async with self._session.ask(self._path, params=params, headers=self._headers()) as response:
                stream = JsonStream(response)
                while events := await stream.batch(seconds + _GRACE_S):
                    yield events
        except RefusedError as error:
            raise _discovery_error(error) from None

    def _headers(self) -> dict[str, str]:
        try:
            return self._access.headers()
        except AccessError as error:
            raise DiscoveryError(str(error)) from None


def _discovery_error(error: RefusedError) -> Exception:
    if error.status == 410:
        return ExpiredError()
    if error.status == 403:
        return DiscoveryError(
            f"{error}; the account needs the verbs list and watch for endpointslices of the group discovery.k8s.io"
        )
    return error
