"""The source of a request's key: a header, a cookie, a query parameter, the path, the client or a function."""

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from propylon.config.schema.matching import FieldName, PythonReference
from propylon.config.types import Text
from propylon.http.claims import ANYONE, taken_from
from propylon.http.cookies import COOKIE_NAME
from propylon.routing.key import BY_CLIENT, BY_PATH, Key, by_cookie, by_function, by_header, by_query

_KINDS: Final = ("header", "cookie", "query", "path", "client", "python")
NO_ASYNC: Final = "an async function cannot be asked here: write a plain def"


def _client_header(value: str) -> str:
    if taken_from(value.lower().encode("ascii")) != ANYONE:
        raise ValueError("not a header that clients set: the gateway writes it; write 'client: true' for the address")
    return value


def _cookie_name(value: str) -> str:
    if not COOKIE_NAME.fullmatch(value):
        raise ValueError("not the name of a cookie: write letters, digits, '_' and '-'")
    return value


def _plain_function(function: str | Callable[..., Any]) -> str | Callable[..., Any]:
    if isinstance(function, type):
        raise ValueError(f"{function.__name__} is a class: give a function")
    if iscoroutinefunction(function):
        raise ValueError(NO_ASYNC)
    return function


ClientHeader: TypeAlias = Annotated[FieldName, AfterValidator(_client_header)]
"""The name of a header that a client may set."""

CookieName: TypeAlias = Annotated[Text, AfterValidator(_cookie_name)]
"""The name of a cookie that the gateway may set."""

PlainFunction: TypeAlias = Annotated[PythonReference, AfterValidator(_plain_function)]
"""`module:function`, or in Python the function itself; neither a class nor async."""


class KeyConfig(BaseModel):
    """The source of the key: exactly one of these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    header: ClientHeader | None = Field(default=None, description="The key is the first value of this request header.")
    cookie: Text | None = Field(default=None, description="The key is the value of this cookie.")
    query: Text | None = Field(default=None, description="The key is the first value of this query parameter.")
    path: Literal[True] | None = Field(default=None, description="The key is the path sent to the service.")
    client: Literal[True] | None = Field(default=None, description="The key is the address of the client.")
    python: PlainFunction | None = Field(
        default=None, description="`module:function`, called with the exchange; returns text, bytes or None."
    )

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        given = [name for name in _KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"here are {', '.join(given)}" if given else "here is none"
            raise ValueError(f"exactly one of {', '.join(_KINDS)} says what the key is, and {found}")
        return self

    @property
    def source(self) -> str:
        """The source of the key, as `header x-user`, `path` or `client`."""
        name, value = next((name, getattr(self, name)) for name in _KINDS if getattr(self, name) is not None)
        return name if value is True else f"{name} {getattr(value, '__name__', value)}"

    def key(self, function_of: Callable[[str | Callable[..., Any]], Callable[[Any], bytes | None]]) -> Key:
        """Return the key.

        Args:
            function_of: returns the function to call for the value of `python`; its exceptions are passed on.
        """
        if self.header is not None:
            return by_header(self.header)
        if self.cookie is not None:
            return by_cookie(self.cookie)
        if self.query is not None:
            return by_query(self.query)
        if self.python is not None:
            return by_function(getattr(self.python, "__name__", str(self.python)), function_of(self.python))
        return BY_PATH if self.path else BY_CLIENT
