"""Session affinity: a cookie keeps a client on its endpoint.

    balance: sticky
    balance: {sticky: {cookie: stay, secret: "${STICKY_SECRET}", max_age: 1d, same_site: strict}}

The first endpoint is chosen as by `p2c`, and the cookie identifies it by a code that does not disclose the address and
cannot be forged: the first 128 bits of HMAC-SHA256 of its URL (RFC 2104). A client without a valid cookie, or with that
of an endpoint that is removed, unhealthy or full, gets another endpoint and another cookie. A valid cookie is not sent
again, so `max_age` counts from the first response. Two services under the same host need cookies of different names or
paths.

Without `secret` each worker generates a key when it starts: a restart then invalidates all cookies, and workers and
gateways do not accept each other's. Configure the same secret for all of them.

The cookie is always HttpOnly, and Secure if the request used https, unless `secure` is set.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import digest
from secrets import token_bytes
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from propylon.config.schema.key import CookieName
from propylon.config.types import Bool, OptionalDuration, Text
from propylon.http.cookies import COOKIE_PATH
from propylon.routing.key import by_cookie
from propylon.services.balancing import p2c

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.services.balancing import Chance
    from propylon.services.endpoint import Endpoint

_CODE_BYTES: Final = 16
_MIN_SECRET: Final = 16


def _cookie_path(value: str) -> str:
    if not COOKIE_PATH.fullmatch(value):
        raise ValueError("should be a path that begins with '/', without spaces and ';'")
    return value


def _long_secret(value: str) -> str:
    if len(value) < _MIN_SECRET:
        raise ValueError(f"too short to be secret: write {_MIN_SECRET} characters or more, made by chance")
    return value


class Config(BaseModel):
    """The cookie."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cookie: CookieName = Field(default="propylon_sticky", description="Name of the cookie.")
    secret: Annotated[Text, AfterValidator(_long_secret)] | None = Field(
        default=None,
        description="Key of the codes, the same in all workers and gateways; without it each worker has its own.",
        repr=False,
    )
    max_age: OptionalDuration = Field(
        default=None, description="How long the client keeps the cookie; by default until the browser is closed."
    )
    path: Annotated[Text, AfterValidator(_cookie_path)] = Field(
        default="/", description="Path prefix for which the client sends the cookie."
    )
    secure: Bool | None = Field(
        default=None, description="Send the cookie over https only; by default if the request used https."
    )
    same_site: Literal["strict", "lax", "none"] = Field(
        default="lax", description="Whether cross-site requests carry the cookie."
    )

    @model_validator(mode="after")
    def _check_cookie_rules(self) -> Self:
        if self.same_site == "none" and not self.secure:
            raise ValueError("browsers refuse a cookie with 'same_site: none' unless it has 'secure: true'")
        if self.max_age is not None and self.max_age < 1:
            raise ValueError("a cookie lives for whole seconds: write a max_age of 1s or more")
        if self.cookie.startswith("__Host-") and not (self.secure and self.path == "/"):
            raise ValueError("a cookie whose name begins with __Host- needs 'secure: true' and 'path: /'")
        if self.cookie.startswith("__Secure-") and not self.secure:
            raise ValueError("a cookie whose name begins with __Secure- needs 'secure: true'")
        return self


class Balancer:
    """Affinity by cookie; p2c for clients without one."""

    __slots__ = ("_attributes", "_by_code", "_codes", "_fallback", "_name", "_read_cookie", "_secret", "_secure")

    decides_alone = True

    def __init__(self, config: Config, chance: Chance) -> None:
        self._name = config.cookie.encode("ascii")
        self._read_cookie = by_cookie(config.cookie).read
        self._secret = token_bytes(sha256().block_size) if config.secret is None else config.secret.encode("utf-8")
        self._secure = config.secure
        age = b"" if config.max_age is None else b"; Max-Age=%d" % config.max_age
        site = config.same_site.capitalize().encode("ascii")
        self._attributes = b"%b; Path=%b; HttpOnly; SameSite=%b" % (age, config.path.encode("ascii"), site)
        self._fallback = p2c.Balancer(p2c.Config(), chance)
        self._codes: dict[Endpoint, bytes] = {}
        self._by_code: dict[bytes, Endpoint] = {}

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the endpoints to choose from."""
        known = self._codes
        self._codes = {endpoint: known.get(endpoint) or self._code(endpoint) for endpoint in endpoints}
        self._by_code = {code: endpoint for endpoint, code in self._codes.items()}
        self._fallback.update(endpoints)

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Return the endpoint of the cookie, or choose one."""
        code = self._read_cookie(x)
        if code is not None:
            endpoint = self._by_code.get(code)
            if endpoint is not None and (endpoint not in avoid or len(self._codes) == 1):
                return endpoint
        return self._fallback.pick(x, avoid)

    def fields(self, x: Exchange, endpoint: Endpoint) -> bytes:
        """Return the Set-Cookie field, or nothing if the client has the cookie already."""
        code = self._codes.get(endpoint) or self._code(endpoint)
        if self._read_cookie(x) == code:
            return b""
        secure = x.origin.scheme == b"https" if self._secure is None else self._secure
        return b"set-cookie: %b=%b%b%b\r\n" % (self._name, code, self._attributes, b"; Secure" if secure else b"")

    def _code(self, endpoint: Endpoint) -> bytes:
        return digest(self._secret, endpoint.url.encode("utf-8"), "sha256")[:_CODE_BYTES].hex().encode("ascii")
