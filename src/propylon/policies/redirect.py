"""Redirect the client to another URL.

    routes:
      - path: /*
        host: www.example.com
        redirect: {https: true, host: example.com, status: 301}
      - path: /blog/{year}/*
        redirect: {path: "/archive/{year}/{*}"}
      - path: /docs
        redirect: https://docs.example.com/

Parts that are not given are those of the request, the query included. The Location is made of the configured parts and
of the checked Host, path and query of the request, never of an untrusted forwarded field. A redirect to https drops the
port unless `host` has one.

A request that is already where it would be redirected to is not redirected, as that would never end: `{https: true}` is
for requests over http, `{host: example.com}` for other hosts. A route passes such a request on to the next route that
matches, a policy to the next policy. The scheme is that of the listener, or what a trusted proxy says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import short_form
from propylon.engine.errors import GatewayError
from propylon.engine.message import Response
from propylon.http.host import parse_host
from propylon.http.place import Place

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_PATH = re.compile(r"/[\x21-\x7e]*")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*|\*)\}")


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
            split = urlsplit(self.url)
            if parts:
                raise ValueError("'url' is whole: it excludes 'https', 'host' and 'path'")
            if split.scheme not in ("http", "https") or not split.netloc or not _VISIBLE.fullmatch(self.url):
                raise ValueError("'url' begins with https:// or http:// and has no spaces; for a path alone use 'path'")
        elif not parts:
            raise ValueError("it leads nowhere: give 'url', 'https', 'host' or 'path'")
        if self.host is not None:
            parse_host(self.host.encode())
        if self.path is not None and (not _PATH.fullmatch(self.path) or self.path.startswith("//")):
            raise ValueError("'path' begins with one '/' and has visible ASCII characters only")
        return self

    @property
    def place(self) -> Place | None:
        """Where it leads, as far as the request does not matter; `None` for a path with parameters, or a query."""
        if self.url is not None:
            split = urlsplit(self.url)
            if split.query:
                return None
            return Place(split.scheme.encode(), split.netloc.lower().encode(), (split.path or "/").encode())
        if self.path is not None and "{" in self.path:
            return None
        scheme, host = b"https" if self.https else None, None if self.host is None else parse_host(self.host.encode())
        path = None if self.path is None else self.path.encode()
        return Place(scheme, None if host is None else host.text, path)


class Policy:
    """Answers with a redirect."""

    def __init__(self, config: Config, scope: Scope) -> None:
        self._config = config
        self._place = config.place

    def on_request(self, x: Exchange) -> Response | None:
        """Return the redirect; `None` for a request that is there already."""
        if self._place is not None and self._place.is_of(x.origin, x.path):
            return None
        return Response(self._config.status, headers={"location": self._location(x)})

    def _location(self, x: Exchange) -> str:
        config, request = self._config, x.request
        query = "" if request.query is None or not config.query else f"?{request.query}"
        if config.url is not None:
            if "?" in config.url:
                return config.url
            base, mark, fragment = config.url.partition("#")
            return base + query + mark + fragment
        path = request.path
        if config.path is not None:
            values = {**x.params, "*": x.path_rest.decode("latin-1")}
            path = _PLACEHOLDER.sub(lambda match: values.get(match[1], ""), config.path)
            path = "/" + path.lstrip("/")  # a captured piece must not turn the path into another authority
        if not config.https and config.host is None:
            return path + query
        scheme = "https" if config.https else request.scheme
        host = config.host or (request.host if scheme != request.scheme else x.origin.host.decode("ascii"))
        if not host:
            raise GatewayError("read.bad_host", "a redirect to another scheme needs a Host field")
        return f"{scheme}://{host}{path}{query}"
