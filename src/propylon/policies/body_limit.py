"""Refuse request bodies larger than a limit with 413. Without this policy there is no limit.

    policies:
      - body_limit: 10MB

A body with a larger Content-Length is refused before a byte of it is read; a chunked one when it exceeds the limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import SIZE_SCHEMA, Size, short_form

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope


class Config(BaseModel):
    """The limit; `body_limit: 10MB` is short for `body_limit: {max: 10MB}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form(schema=SIZE_SCHEMA))

    max: Size = Field(description="Maximum size of a body, as 64KiB or 10MB.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"max": data} if isinstance(data, str | int) else data


class Policy:
    """Sets the limit of an exchange; a later policy on the same route replaces it."""

    def __init__(self, config: Config, scope: Scope) -> None:
        self._max = config.max

    def on_request(self, x: Exchange) -> None:
        """Refuse a larger Content-Length, and set the limit for the connection."""
        x.limit_body(self._max)
