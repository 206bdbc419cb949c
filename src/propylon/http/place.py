"""A place: the part of a URL that a redirect determines, to tell whether a request is there already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from propylon.http.forwarded import Origin

_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


class Place(NamedTuple):
    """Scheme, host (with its port, if it has one) and path; `None` is any."""

    scheme: bytes | None = None
    host: bytes | None = None
    path: bytes | None = None

    def is_of(self, origin: Origin, path: bytes) -> bool:
        """Return whether a request is there.

        Args:
            origin: of the request: its verified scheme and host.
            path: the canonical path of the request.
        """
        scheme, host, own = self
        if scheme is not None and scheme != origin.scheme:
            return False
        if host is not None:
            port = _DEFAULT_PORTS[origin.scheme]
            if host.removesuffix(port) != origin.host.removesuffix(port):
                return False
        return own is None or own == path

    def __str__(self) -> str:
        scheme, host, path = ((part or b"").decode("ascii") for part in self)
        return f"{scheme}{'://' if scheme and host else ''}{host}{path}"
