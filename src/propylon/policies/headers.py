"""Set, add and remove header fields of the request and of the response.

    policies:
      - headers:
          request: {set: {x-tenant: blue}, remove: [cookie]}
          response: {set: {x-frame-options: DENY}, add: {vary: origin}}

Values are fixed text. `remove` comes first, then `set`, then `add`. Framing fields (Content-Length, Transfer-Encoding,
Connection) belong to the gateway and are not changed by this.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope
    from propylon.http.headers import Headers

Name = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
Value = Annotated[str, Field(pattern=r"^[\t\x20-\x7e\x80-\xff]*$")]


class Edit(BaseModel):
    """Changes of one header section."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    remove: tuple[Name, ...] = Field(default=(), description="Fields to drop.")
    set: dict[Name, Value] = Field(default={}, description="Fields with their only value.")
    add: dict[Name, Value] = Field(default={}, description="Values to append to those there are.")

    def apply(self, headers: Headers) -> None:
        """Carry out the changes."""
        for name in self.remove:
            headers.remove(name)
        for name, value in self.set.items():
            headers.set(name, value)
        for name, value in self.add.items():
            headers.add(name, value)


class Config(BaseModel):
    """What is changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: Edit | None = Field(default=None, description="Changes of what the service gets.")
    response: Edit | None = Field(default=None, description="Changes of what the client gets.")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.request is None and self.response is None:
            raise ValueError("nothing to change: give 'request', 'response' or both")
        return self


class Policy:
    """Takes part only in the phases that are configured."""

    def __init__(self, config: Config, scope: Scope) -> None:
        # Methods of its own would hold it in a cycle, and it would outlive its configuration.
        if config.request is not None:
            self.on_request = partial(_change_request, config.request)
        if config.response is not None:
            self.on_response = partial(_change_response, config.response)


def _change_request(edit: Edit, x: Exchange) -> None:
    edit.apply(x.request.headers)


def _change_response(edit: Edit, x: Exchange) -> None:
    if x.response is not None:
        edit.apply(x.response.headers)
