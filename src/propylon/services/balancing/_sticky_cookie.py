"""Affinity by a cookie that names the endpoint."""

from __future__ import annotations

from hashlib import sha256
from hmac import digest
from secrets import token_bytes
from typing import TYPE_CHECKING, Final

from propylon.routing.key import by_cookie

if TYPE_CHECKING:
    from collections.abc import Sequence

    from propylon.engine.exchange import Exchange
    from propylon.http.response_head import ResponseHead
    from propylon.services.balancing.sticky import Config
    from propylon.services.endpoint import Endpoint

_CODE_BYTES: Final = 16


class ByCookie:
    """Finds the endpoint that a client's cookie names, and sets the cookie."""

    __slots__ = ("_attributes", "_by_code", "_codes", "_name", "_read_cookie", "_secret", "_secure")

    def __init__(self, config: Config) -> None:
        self._name = config.cookie.encode("ascii")
        self._read_cookie = by_cookie(config.cookie).read
        self._secret = token_bytes(sha256().block_size) if config.secret is None else config.secret.encode("utf-8")
        self._secure = config.secure
        age = b"" if config.max_age is None else b"; Max-Age=%d" % config.max_age
        site = config.same_site.capitalize().encode("ascii")
        self._attributes = b"%b; Path=%b; HttpOnly; SameSite=%b" % (age, config.path.encode("ascii"), site)
        self._codes: dict[Endpoint, bytes] = {}
        self._by_code: dict[bytes, Endpoint] = {}

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the endpoints to choose from."""
        known = self._codes
        self._codes = {endpoint: known.get(endpoint) or self._code(endpoint) for endpoint in endpoints}
        self._by_code = {code: endpoint for endpoint, code in self._codes.items()}

    def find(self, x: Exchange) -> Endpoint | None:
        """Return the endpoint of a request; `None` if it has none, or none that can serve."""
        code = self._read_cookie(x)
        return None if code is None else self._by_code.get(code)

    def learn(self, x: Exchange, endpoint: Endpoint, head: ResponseHead) -> None:
        """Do nothing: the cookie has everything."""

    def fields(self, x: Exchange, endpoint: Endpoint) -> bytes:
        """Return the Set-Cookie field, or nothing if the client has the cookie already."""
        code = self._codes.get(endpoint) or self._code(endpoint)
        if self._read_cookie(x) == code:
            return b""
        secure = x.origin.scheme == b"https" if self._secure is None else self._secure
        return b"set-cookie: %b=%b%b%b\r\n" % (self._name, code, self._attributes, b"; Secure" if secure else b"")

    def _code(self, endpoint: Endpoint) -> bytes:
        return digest(self._secret, endpoint.url.encode("utf-8"), "sha256")[:_CODE_BYTES].hex().encode("ascii")
