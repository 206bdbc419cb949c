"""Set, add and remove header fields of the request and of the response.

    policies:
      - headers:
          request: {set: {x-tenant: blue}, remove: [cookie]}
          response: {set: {x-frame-options: DENY}, add: {vary: origin}}

Values are literal text. Edits are applied in the order `remove`, `set`, `add`. Framing fields (Content-Length,
Transfer-Encoding, Connection) belong to the gateway and cannot be changed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import Listed

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope
    from propylon.http.headers import Headers

Name = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
Value = Annotated[str, Field(pattern=r"^[\t\x20-\x7e\x80-\xff]*$")]


class Edit(BaseModel):
    """Edits of one header section."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    remove: Listed[Name] = Field(default=(), description="Fields to remove.")
    set: dict[Name, Value] = Field(default={}, description="Fields to set, replacing all their values.")
    add: dict[Name, Value] = Field(default={}, description="Values to add to existing ones.")

    def apply(self, headers: Headers) -> None:
        """Apply the edits."""
        for name in self.remove:
            headers.remove(name)
        for name, value in self.set.items():
            headers.set(name, value)
        for name, value in self.add.items():
            headers.add(name, value)


class Config(BaseModel):
    """The edits of request and response."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: Edit | None = Field(default=None, description="Edits of the request to the service.")
    response: Edit | None = Field(default=None, description="Edits of the response to the client.")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.request is None and self.response is None:
            raise ValueError("nothing to change: give 'request', 'response' or both")
        return self


class Policy:
    """Edits header fields; it has hooks only for the configured phases."""

    def __init__(self, config: Config, scope: Scope) -> None:
        # Bound methods would form a reference cycle, and keep the policy alive after its configuration.
        if config.request is not None:
            self.on_request = partial(_change_request, config.request)
        if config.response is not None:
            self.on_response = partial(_change_response, config.response)


def _change_request(edit: Edit, x: Exchange) -> None:
    edit.apply(x.request.headers)


def _change_response(edit: Edit, x: Exchange) -> None:
    if x.response is not None:
        edit.apply(x.response.headers)
