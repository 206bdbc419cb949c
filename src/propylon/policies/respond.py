"""Answer with a response of the gateway, without a service.

    routes:
      - path: /health
        respond: {json: {status: ok}}
      - path: /old/*
        respond: {status: 410, body: "gone", headers: {cache-control: max-age=3600}}
      - path: /hello/{name}
        respond: "Hello {name}, you come from {client.address}."

It can also be used in a list of policies, with `when:`.

`body`, the texts in `json` and the values of `headers` are [templates](../rewriting.md#templates). In `body` and `json`
only known names are replaced; all other braces are text. Values are encoded by the type of the content: HTML, XML and
JSON are escaped, plain text is as it is. Content of any other type is not changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import short_form
from propylon.engine.response import Response
from propylon.http.headers import Headers
from propylon.routing.template import Template
from propylon.routing.template_places import IN_FIELD, content_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class Config(BaseModel):
    """The response."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string", "integer"))

    status: Annotated[int, Field(strict=True, ge=200, le=599)] = Field(default=200, description="The status.")
    body: str = Field(default="", description="The content, sent as UTF-8.")
    json_: Any = Field(default=None, alias="json", description="Content encoded as JSON, instead of `body`.")
    content_type: str | None = Field(default=None, description="By default text/plain, or application/json.")
    headers: dict[str, str] = Field(default={}, description="Further header fields.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"body": data}
        return {"status": data} if isinstance(data, int) else data

    @model_validator(mode="after")
    def _one_body_and_valid_headers(self) -> Self:
        if self.body and self.json_ is not None:
            raise ValueError("'body' and 'json' exclude each other")
        if self.status in (204, 304) and (self.body or self.json_ is not None):
            raise ValueError(f"a response with status {self.status} has no body (RFC 9110 6.4.1)")
        Headers({**self.headers, "content-type": self.content_type or "text/plain"})
        for value in self.headers.values():
            Template(value, IN_FIELD)
        return self

    def templates(self) -> Iterator[tuple[tuple[str, ...], Template]]:
        """Yield the templates whose names must be known, with their locations."""
        for name, value in self.headers.items():
            yield ("headers", name), Template(value, IN_FIELD)


class Policy:
    """Answers with a response of the gateway."""

    def __init__(self, config: Config, scope: Scope) -> None:
        import orjson

        content = config.body if config.json_ is None else orjson.dumps(config.json_).decode()
        headers = {name: Template(value, IN_FIELD) for name, value in config.headers.items()}
        given = next((value for name, value in config.headers.items() if name.lower() == "content-type"), None)
        kind = given or config.content_type or (TEXT if config.json_ is None else JSON)
        place = content_place(kind)
        body = None if place is None else Template(content, place)
        self._status = config.status
        self._kind = kind if content else config.content_type
        self._fixed_headers = {
            name: text.decode("latin-1") for name, each in headers.items() if (text := each.fixed) is not None
        }
        self._headers = {name: each for name, each in headers.items() if each.fixed is None}
        self._body = content.encode() if body is None or body.fixed is not None else body

    def on_request(self, x: Exchange) -> Response:
        """Return the response."""
        headers, body = self._fixed_headers, self._body
        if self._headers:
            headers = headers | {name: each.fill(x).decode("latin-1") for name, each in self._headers.items()}
        content = body if isinstance(body, bytes) else body.fill(x)
        return Response(self._status, body=content, headers=headers, content_type=self._kind)
