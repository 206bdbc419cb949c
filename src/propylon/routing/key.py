"""The key of a request: a value of it by which requests are told apart, for a share, an endpoint or a count.

Rules of the file: pure. What a key is made of is decided when the configuration is built; reading it costs one call and
what the lookup itself costs. `None` and b"" mean that a request has no key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from propylon.http import query
from propylon.http.cookies import cookie

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.http.request_head import RequestFields


class Keyed(Protocol):
    """What keys read of a request."""

    @property
    def path(self) -> bytes:
        """The canonical path."""

    @property
    def query(self) -> bytes | None:
        """The query as it was sent, without '?'; None if there is none."""

    @property
    def fields(self) -> RequestFields:
        """The header section."""

    @property
    def client_address(self) -> bytes:
        """The client's address as text; b"" if it has none (a Unix socket)."""

    def header(self, name: bytes) -> bytes | None:
        """Return a header's value by its lower-case name; None if it is absent."""


@dataclass(frozen=True, slots=True)
class Key:
    """One kind of key.

    Attributes:
        name: what it is called where it is shown, as `header x-user`.
        read: returns the key of a request; None or b"" if it has none.
    """

    name: str
    read: Callable[[Keyed], bytes | None]

    def __str__(self) -> str:
        return self.name


BY_PATH: Final = Key("path", lambda request: request.path)
BY_CLIENT: Final = Key("client address", lambda request: request.client_address)


def by_header(name: str) -> Key:
    """Return the key that is the first value of a header."""
    lower = name.lower()
    field = lower.encode("ascii")
    return Key(f"header {lower}", lambda request: request.header(field))


def by_cookie(name: str) -> Key:
    """Return the key that is the value of a cookie."""
    wanted = name.encode("utf-8")
    return Key(f"cookie {name}", lambda request: cookie(request.fields.all(b"cookie"), wanted))


def by_query(name: str) -> Key:
    """Return the key that is the first value of a query parameter, decoded."""
    wanted = name.encode("utf-8")
    return Key(f"query parameter {name}", lambda request: query.get(request.query, wanted))


def by_function(name: str, function: Callable[[Any], bytes | None]) -> Key:
    """Return the key that a function makes of the request; what it raises is passed on."""
    return Key(f"python {name}", function)
