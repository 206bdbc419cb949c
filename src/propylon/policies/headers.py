"""Set, add and remove header fields of the request and of the response.

    routes:
      - path: /users/{id}/*
        target: http://127.0.0.1:3001
        policies:
          - headers:
              request: {set: {x-user: "{id}", x-from: "{client.address}"}, remove: [cookie]}
              response: {set: {x-frame-options: DENY}, add: {vary: origin}}

Values are [templates](../rewriting.md#templates): `{id}` is a parameter of the route's path, `{client.address}` a fact
of the request. Edits are applied in the order `keep`, `remove`, `set`, `add`. Framing fields (Content-Length,
Transfer-Encoding, Connection) belong to the gateway and cannot be changed.

`keep` is a list of the only fields of the client that the service gets. Content-Type and Content-Encoding, which
describe a body, the fields of a WebSocket handshake and those of the gateway itself, such as X-Forwarded-For, are sent
in any case. What `set` and `add` name is sent too.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import Listed
from propylon.routing.template import Template
from propylon.routing.template_places import IN_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope
    from propylon.http.headers import Headers

# Fields of the client that are sent whatever `keep` lists: without them the message is another one, or none.
_ESSENTIAL = frozenset(
    (
        b"content-encoding", b"content-length", b"content-type", b"host", b"sec-websocket-extensions",
        b"sec-websocket-key", b"sec-websocket-protocol", b"sec-websocket-version", b"x-request-id",
    )
)  # fmt: skip


def _is_template(value: str) -> str:
    Template(value, IN_FIELD)
    return value


Name = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
Value = Annotated[str, Field(pattern=r"^[\t\x20-\x7e\x80-\xff]*$"), AfterValidator(_is_template)]


class Edit(BaseModel):
    """Edits of one header section."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    remove: Listed[Name] = Field(default=(), description="Fields to remove.")
    set: dict[Name, Value] = Field(default={}, description="Fields to set, replacing all their values.")
    add: dict[Name, Value] = Field(default={}, description="Values to add to existing ones.")


class RequestEdit(Edit):
    """Edits of the request."""

    keep: tuple[Name, ...] | None = Field(
        default=None, description="The only fields of the client that are sent; all by default, [] for none."
    )


class Config(BaseModel):
    """The edits of request and response."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: RequestEdit | None = Field(default=None, description="Edits of the request to the service.")
    response: Edit | None = Field(default=None, description="Edits of the response to the client.")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.request is None and self.response is None:
            raise ValueError("nothing to change: give 'request', 'response' or both")
        return self

    def templates(self) -> Iterator[tuple[tuple[str, ...], Template]]:
        """Yield every template with its location."""
        for section in ("request", "response"):
            edit = getattr(self, section)
            for key in ("set", "add") if edit is not None else ():
                for name, value in getattr(edit, key).items():
                    yield (section, key, name), Template(value, IN_FIELD)


class Policy:
    """Edits header fields; it has hooks only for the configured phases."""

    def __init__(self, config: Config, scope: Scope) -> None:
        # Bound methods would form a reference cycle, and keep the policy alive after its configuration.
        if config.request is not None:
            self.on_request = partial(_change_request, CompiledEdit(config.request))
        if config.response is not None:
            self.on_response = partial(_change_response, CompiledEdit(config.response))


class CompiledEdit:
    """The edits of one header section, compiled."""

    __slots__ = ("_add", "_keep", "_remove", "_set")

    def __init__(self, edit: Edit) -> None:
        keep = edit.keep if isinstance(edit, RequestEdit) else None
        self._keep = None if keep is None else _ESSENTIAL.union(name.lower().encode() for name in keep)
        self._remove = edit.remove
        self._set = _compiled(edit.set)
        self._add = _compiled(edit.add)

    def apply(self, headers: Headers, x: Exchange) -> None:
        """Apply the edits."""
        keep = self._keep
        if keep is not None:
            headers.raw = [pair for pair in headers.raw if pair[0].lower() in keep]
        for name in self._remove:
            headers.remove(name)
        for name, value in self._set:
            headers.set(name, value if isinstance(value, str) else value.fill(x).decode("latin-1"))
        for name, value in self._add:
            headers.add(name, value if isinstance(value, str) else value.fill(x).decode("latin-1"))


def _compiled(values: Mapping[str, str]) -> list[tuple[str, str | Template]]:
    """Return the values, those that are the same for every request as text."""
    templates = {name: Template(value, IN_FIELD) for name, value in values.items()}
    return [(name, each if each.fixed is None else each.fixed.decode("latin-1")) for name, each in templates.items()]


def _change_request(edit: CompiledEdit, x: Exchange) -> None:
    edit.apply(x.request.headers, x)


def _change_response(edit: CompiledEdit, x: Exchange) -> None:
    if x.response is not None:
        edit.apply(x.response.headers, x)
