"""Redirect the client to another URL.

    routes:
      - path: /*
        host: www.example.com
        redirect: {https: true, host: example.com, status: 301}
      - path: /blog/{year}/*
        redirect: {path: "/archive/{year}/{*}"}
      - path: /*
        host: "*.old.example"
        redirect: "https://{host.*}.example.com/{*}"
      - path: /docs
        redirect: https://docs.example.com/

Parts that are not given are those of the request, the query included; a `path` or `url` with a query of its own
replaces it. `path`, `host` and `url` are [templates](../rewriting.md#templates). The Location is made of the configured
parts and of the checked Host, path and query of the request, never of an untrusted forwarded field. What a client
sends cannot lead to another host than the configuration names: a host ends in fixed text, or is `{request.host}`. A
redirect to https drops the port unless `host` has one.

A request that is already where it would be redirected to is not redirected, as that would never end: `{https: true}` is
for requests over http, `{host: example.com}` for other hosts. A route passes such a request on to the next route that
matches, a policy to the next policy. The scheme is that of the listener, or what a trusted proxy says. This needs a
target without templates and without a query of its own; one with them always redirects.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import short_form
from propylon.engine.errors import GatewayError
from propylon.engine.response import Response
from propylon.http.host import parse_host
from propylon.http.place import Place
from propylon.http.target import TargetError
from propylon.routing.location import HostTemplate, Reference, split_url
from propylon.routing.template import Template, sampled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_PATH = re.compile(r"(?:/|\{request\.path\})[\x21-\x7e]*")


class Config(BaseModel):
    """The target, and the status."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string"))

    status: Literal[301, 302, 303, 307, 308] = Field(
        default=308, description="308 and 307 keep the method; 301 and 308 are cached by clients."
    )
    https: bool = Field(default=False, strict=True, description="Change the scheme to https.")
    host: str | None = Field(default=None, description="Another host, with a port if needed.")
    path: str | None = Field(default=None, description="Another path, with {name} and {*} of the route's path.")
    query: bool = Field(default=True, strict=True, description="Keep the query.")
    url: str | None = Field(default=None, description="A complete URL, instead of the parts above.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"url": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        parts = self.https or self.host is not None or self.path is not None
        if self.url is not None:
            split = urlsplit(sampled(self.url.replace("{request.path}", "/", 1)))
            if parts:
                raise ValueError("'url' is whole: it excludes 'https', 'host' and 'path'")
            if split.scheme not in ("http", "https") or not split.netloc or not _VISIBLE.fullmatch(self.url):
                raise ValueError("'url' begins with https:// or http:// and has no spaces; for a path alone use 'path'")
        elif not parts:
            raise ValueError("it leads nowhere: give 'url', 'https', 'host' or 'path'")
        if self.host is not None:
            parse_host(sampled(self.host).encode())
        if self.path is not None and (not _PATH.fullmatch(self.path) or self.path.startswith("//")):
            raise ValueError("'path' begins with one '/' and has visible ASCII characters only")
        _Target(self)
        return self

    @property
    def place(self) -> Place | None:
        """Where it leads; `None` if that depends on the request, or if it has a query of its own."""
        target = _Target(self)
        host = None if target.host is None else target.host.fixed
        path = None if target.reference is None else target.reference.fixed
        if (host is None) != (target.host is None) or (path is None) != (target.reference is None):
            return None
        return Place(None if target.scheme is None else target.scheme.encode("ascii"), host, path)

    def templates(self) -> Iterator[tuple[tuple[str, ...], Template]]:
        """Yield every template with its location."""
        target = _Target(self)
        for part, key in ((target.host, "host"), (target.reference, "path")):
            for template in part.templates if part is not None else ():
                yield ("url" if self.url is not None else key,), template


class _Target:
    """The configured parts of the URL, compiled; None for those of the request."""

    __slots__ = ("host", "reference", "scheme")

    def __init__(self, config: Config) -> None:
        self.scheme = "https" if config.https else None
        host, path = config.host, config.path
        if config.url is not None:
            self.scheme, host, path = split_url(config.url)
        self.host = None if host is None else HostTemplate(host)
        self.reference = None if path is None else Reference(path)


class Policy:
    """Answers with a redirect."""

    def __init__(self, config: Config, scope: Scope) -> None:
        self._status = config.status
        self._keeps_query = config.query
        self._target = _Target(config)
        self._place = config.place

    def on_request(self, x: Exchange) -> Response | None:
        """Return the redirect; `None` for a request that is there already."""
        if self._place is not None and self._place.is_of(x.origin, x.path):
            return None
        try:
            return Response(self._status, headers={"location": self._location(x)})
        except TargetError as error:
            raise GatewayError("read.bad_target", error.detail) from None

    def _location(self, x: Exchange) -> str:
        target, request = self._target, x.request
        query = x.query if self._keeps_query else None
        if target.reference is not None:
            reference = target.reference.fill(x, query)
        else:
            reference = request.path if query is None else f"{request.path}?{request.query}"
        if target.scheme is None and target.host is None:
            return reference
        scheme = target.scheme or request.scheme
        if target.host is not None:
            host = target.host.fill(x)
        else:
            host = request.host if scheme != request.scheme else x.origin.host.decode("ascii")
        if not host:
            raise GatewayError("read.bad_host", "a redirect to another scheme needs a Host field")
        return f"{scheme}://{host}{reference}"
