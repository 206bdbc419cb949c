"""A stand-in for a Kubernetes API server: EndpointSlices by list and watch, over real HTTP.

Written after these pages of Kubernetes' documentation:

- "Kubernetes API Concepts", "Efficient detection of changes": a watch sends the changes after `resourceVersion` as JSON
  objects `{"type", "object"}` in one chunked response; one that is too far in the past is answered by 410 Gone, as the
  status of the response or as an event of type ERROR with a `Status` of code 410.
- "Watch bookmarks": events of type BOOKMARK, whose object has its kind and `metadata.resourceVersion` alone, are sent
  to clients that ask by `allowWatchBookmarks`, whenever the server likes.
- "Retrieving large results sets in chunks": `limit` and `continue`; the version of all pages is that of the first, and
  a token that has expired is answered by 410 with reason `Expired`.
- "Label selectors", "API": equality, `labelSelector=key=value`; an object that leaves the selection is DELETED to it.
- The API reference, "EndpointSlice v1" (shape of a slice), "Common Parameters" (`timeoutSeconds` ends a watch), and
  "Status" (the body of every refusal).
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from .web import served

SERVICE = "kubernetes.io/service-name"
KIND = {"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1"}


class Api:
    """The server and its slices, all in the namespace `shop`.

    Attributes:
        requests: the queries of the requests, in order.
        tokens: those that are taken; empty to take every request.
        forbidden: whether every account lacks the right.
        cut: pieces of this many bytes are written of each event; 0 writes it whole.
        gone_as_event: whether 410 is an event of the stream, or its status.
        expire_pages: how many tokens of further pages will have expired.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, str]] = []
        self.tokens: set[str] = set()
        self.forbidden = False
        self.cut = 0
        self.gone_as_event = False
        self.expire_pages = 0
        self._slices: dict[str, dict[str, Any]] = {}
        self._version = 1000
        self._oldest = 0
        self._history: list[tuple[int, dict[str, Any] | None, dict[str, Any] | None]] = []
        self._changed = asyncio.Event()
        self._closing = 0
        self._bookmarks = 0
        self._cutting = False
        self._failure: dict[str, Any] | None = None
        self._pages: dict[str, tuple[list[dict[str, Any]], int]] = {}

    @property
    def lists(self) -> int:
        """How many lists were begun."""
        return sum("watch" not in query and "continue" not in query for query in self.requests)

    @property
    def watches(self) -> int:
        """How many watches were begun."""
        return sum("watch" in query for query in self.requests)

    def put(self, name: str, *endpoints: dict[str, Any], **more: Any) -> None:
        """Make or change a slice; keys of `more` replace parts of it."""
        self._version += 1
        made = slice_of(name, *endpoints, **more)
        made["metadata"]["resourceVersion"] = str(self._version)
        self._record(self._slices.get(name), made)
        self._slices[name] = made

    def delete(self, name: str) -> None:
        """Delete a slice; its last state gets a version of its own."""
        self._version += 1
        self._record(self._slices.pop(name), None)

    def pass_versions(self, count: int = 10) -> None:
        """Let other objects of the cluster change."""
        self._version += count

    def forget(self) -> None:
        """Forget all changes up to now, as etcd does after five minutes."""
        self._oldest = self._version

    def end_watches(self) -> None:
        """End the open watches as after `timeoutSeconds`."""
        self._closing += 1
        self._tell()

    def cut_watches(self) -> None:
        """Cut the connections of the open watches, as a proxy does that has heard nothing for long."""
        self._cutting = True
        self.end_watches()

    def bookmark(self) -> None:
        """Send a bookmark to every open watch that takes them."""
        self._bookmarks += 1
        self._tell()

    def fail_watches(self, code: int, reason: str, message: str) -> None:
        """End the open watches by an event of type ERROR."""
        self._failure = {"type": "ERROR", "object": status(code, reason, message)}
        self.end_watches()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(dict(request.query))
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if self.tokens and (scheme != "Bearer" or token not in self.tokens):
            return refused(401, "Unauthorized", "Unauthorized")
        if self.forbidden:
            return refused(403, "Forbidden", 'endpointslices is forbidden: User "x" cannot list resource')
        if request.path.removeprefix("/base") != "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices":
            return refused(404, "NotFound", "the server could not find the requested resource")
        return await (self._watch(request) if request.query.get("watch") == "1" else self._list(request))

    async def _list(self, request: web.Request) -> web.Response:
        token = request.query.get("continue")
        if token and self.expire_pages:
            self.expire_pages -= 1
            return refused(410, "Expired", "The provided continue parameter is too old")
        items, version = self._pages.pop(token) if token else (self._selected(request), self._version)
        limit = int(request.query.get("limit", "0")) or len(items)
        metadata = {"resourceVersion": str(version)}
        if len(items) > limit:
            metadata["continue"] = f"page-{len(self.requests)}"
            self._pages[metadata["continue"]] = (items[limit:], version)
        return web.json_response({**KIND, "kind": "EndpointSliceList", "metadata": metadata, "items": items[:limit]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        seen = int(request.query["resourceVersion"])
        gone = seen < self._oldest
        if gone and not self.gone_as_event:
            return refused(410, "Expired", f"too old resource version: {seen} ({self._oldest})")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        if gone:
            text = f"too old resource version: {seen} ({self._oldest})"
            await self._send(response, {"type": "ERROR", "object": status(410, "Expired", text)})
            return response
        await self._follow(request, response, seen)
        return response

    async def _follow(self, request: web.Request, response: web.StreamResponse, seen: int) -> None:
        closing, bookmarks = self._closing, self._bookmarks
        end = asyncio.get_running_loop().time() + float(request.query["timeoutSeconds"])
        while True:
            changed = self._changed
            if self._closing != closing:
                if self._failure:
                    await self._send(response, self._failure)
                if self._cutting and request.transport is not None:
                    self._cutting = False
                    request.transport.abort()
                return
            for version, before, after in [entry for entry in self._history if entry[0] > seen]:
                seen = version
                if event := _event(request, version, before, after):
                    await self._send(response, event)
            if self._bookmarks != bookmarks:
                bookmarks = self._bookmarks
                if request.query.get("allowWatchBookmarks") == "true":
                    metadata = {"resourceVersion": str(self._version), "creationTimestamp": None}
                    await self._send(response, {"type": "BOOKMARK", "object": {**KIND, "metadata": metadata}})
            try:
                async with asyncio.timeout_at(end):
                    await changed.wait()
            except TimeoutError:
                return

    async def _send(self, response: web.StreamResponse, event: dict[str, Any]) -> None:
        data = json.dumps(event).encode() + b"\n"
        size = self.cut or len(data)
        for start in range(0, len(data), size):
            await response.write(data[start : start + size])
            await asyncio.sleep(0)

    def _selected(self, request: web.Request) -> list[dict[str, Any]]:
        return [each for _, each in sorted(self._slices.items()) if _matches(request, each)]

    def _record(self, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        self._history.append((self._version, copy.deepcopy(before), copy.deepcopy(after)))
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def pod(address: str, **more: Any) -> dict[str, Any]:
    """An endpoint of a slice that is ready; keys of `more` replace parts of it."""
    return {"addresses": [address], "conditions": {"ready": True, "serving": True, "terminating": False}, **more}


def draining(address: str, *, serving: bool = True) -> dict[str, Any]:
    """An endpoint whose pod terminates."""
    return pod(address, conditions={"ready": False, "serving": serving, "terminating": True})


def slice_of(name: str, *endpoints: dict[str, Any], service: str = "users", **more: Any) -> dict[str, Any]:
    """A slice as the server shows it."""
    return {
        "metadata": {"name": name, "namespace": "shop", "labels": {SERVICE: service}}, "addressType": "IPv4",
        "endpoints": list(endpoints), "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], **more,
    }  # fmt: skip


def status(code: int, reason: str, message: str) -> dict[str, Any]:
    """The object of a refusal."""
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
        "code": code,
    }  # fmt: skip


def refused(code: int, reason: str, message: str) -> web.Response:
    """A response that refuses."""
    return web.json_response(status(code, reason, message), status=code)


def _matches(request: web.Request, item: dict[str, Any] | None) -> bool:
    key, _, value = request.query.get("labelSelector", "").partition("=")
    return item is not None and (not key or item["metadata"]["labels"].get(key) == value)


def _event(
    request: web.Request, version: int, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> dict[str, Any] | None:
    """What a change is to a watch with a selector; an object that goes is shown in its last state, as of now."""
    if _matches(request, after):
        return {"type": "MODIFIED" if _matches(request, before) else "ADDED", "object": {**KIND, **(after or {})}}
    if before is None or not _matches(request, before):
        return None
    metadata = {**before["metadata"], "resourceVersion": str(version)}
    return {"type": "DELETED", "object": {**KIND, **before, "metadata": metadata}}


@asynccontextmanager
async def api(**where: Any) -> AsyncIterator[tuple[Api, str]]:
    """A running server and its base URL; the parameters are those of `served`."""
    made = Api()
    async with served(made.answer, **where) as base:
        yield made, base
