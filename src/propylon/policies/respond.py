"""Answer with a fixed response, without a service.

    routes:
      - path: /health
        respond: {json: {status: ok}}
      - path: /old/*
        respond: {status: 410, body: "gone", headers: {cache-control: max-age=3600}}
      - path: /ping
        respond: pong

It can also be used in a list of policies, with `when:`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import short_form
from propylon.engine.message import Response
from propylon.http.headers import Headers

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope


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
        return self


class Policy:
    """Answers with a fixed response."""

    def __init__(self, config: Config, scope: Scope) -> None:
        self._config = config

    def on_request(self, x: Exchange) -> Response:
        """Return the response."""
        config = self._config
        return Response(
            config.status,
            body=config.body,
            json=config.json_,
            headers=config.headers,
            content_type=config.content_type,
        )
