"""Refuse request bodies larger than a limit with 413. Without this policy bodies have no limit.

    policies:
      - body_limit: 10MB

A body whose Content-Length says that it is too large is refused before a byte of it is read; one that is sent in chunks
when the limit is passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import Size, short_form

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope


class Config(BaseModel):
    """The limit; `body_limit: 10MB` is short for `body_limit: {max: 10MB}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string", "integer"))

    max: Size = Field(description="The largest body that is accepted, as 64KiB or 10MB.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"max": data} if isinstance(data, str | int) else data


class Policy:
    """Sets the limit of its exchanges; a later one on the same route replaces it."""

    def __init__(self, config: Config, scope: Scope) -> None:
        self._max = config.max

    def on_request(self, x: Exchange) -> None:
        """Refuse what is known to be too large, and let the connection count the rest."""
        x.limit_body(self._max)
