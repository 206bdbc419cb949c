"""The key of a request: the value that a split, consistent hashing or a limit distinguishes requests by.

Rules of the file: pure. The kind of key is fixed when the configuration is built; reading it costs one call and the
lookup itself. `None` and b"" mean that a request has no key.
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
    """The parts of a request that keys read."""

    @property
    def path(self) -> bytes:
        """The canonical path."""

    @property
    def query(self) -> bytes | None:
        """The query as received, without '?'; None if there is none."""

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
        name: its display name, as `header x-user`.
        read: returns the key of a request; None or b"" if it has none.
    """

    name: str
    read: Callable[[Keyed], bytes | None]

    def __str__(self) -> str:
        return self.name


BY_PATH: Final = Key("path", lambda request: request.path)
BY_CLIENT: Final = Key("client address", lambda request: request.client_address)


def by_header(name: str) -> Key:
    """Return the key for the first value of a header."""
    lower = name.lower()
    field = lower.encode("ascii")
    return Key(f"header {lower}", lambda request: request.header(field))


def by_cookie(name: str) -> Key:
    """Return the key for the value of a cookie."""
    encoded = name.encode("utf-8")
    return Key(f"cookie {name}", lambda request: cookie(request.fields.all(b"cookie"), encoded))


def by_query(name: str) -> Key:
    """Return the key for the first value of a query parameter, decoded."""
    encoded = name.encode("utf-8")
    return Key(f"query parameter {name}", lambda request: query.get(request.query, encoded))


def by_function(name: str, function: Callable[[Any], bytes | None]) -> Key:
    """Return the key that a function computes from the request; its exceptions are passed on."""
    return Key(f"python {name}", function)
