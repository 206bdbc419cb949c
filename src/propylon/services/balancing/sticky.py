"""Session affinity: a cookie, or a header of the service's own, keeps a client on its endpoint.

    balance: sticky
    balance: {sticky: {cookie: stay, secret: "${STICKY_SECRET}", max_age: 1d, same_site: strict}}
    balance: {sticky: {header: mcp-session-id, idle: 12h}}

The first endpoint is chosen as by `p2c`, and the cookie identifies it by a code that does not disclose the address and
cannot be forged: the first 128 bits of HMAC-SHA256 of its URL (RFC 2104). A client without a valid cookie, or with that
of an endpoint that is removed, unhealthy or full, gets another endpoint and another cookie. A valid cookie is not sent
again, so `max_age` counts from the first response. Two services under the same host need cookies of different names or
paths.

Without `secret` each worker generates a key when it starts: a restart then invalidates all cookies, and workers and
gateways do not accept each other's. Configure the same secret for all of them.

The cookie is always HttpOnly, and Secure if the request used https, unless `secure` is set.

With `header` no cookie is used: the session is the value of a header that the service sends in a response and the
client repeats in its requests, as the Model Context Protocol does with Mcp-Session-Id. The endpoint that named it gets
its requests until the session has not been used for `idle`. At most 100,000 sessions of a service are remembered, in
each worker, also across reloads, but not across restarts. If the endpoint is removed, unhealthy or full, another one
gets the request, and keeps the session if it answers below 400 with the same header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from propylon.config.schema.key import ClientHeader, CookieName
from propylon.config.types import Bool, Duration, OptionalDuration, Text
from propylon.http.cookies import COOKIE_PATH
from propylon.services.balancing import p2c
from propylon.services.balancing._sticky_cookie import ByCookie
from propylon.services.balancing._sticky_header import ByHeader

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.http.response_head import ResponseHead
    from propylon.services.balancing import Chance
    from propylon.services.endpoint import Endpoint

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
    """The cookie, or the header."""

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

    header: ClientHeader | None = Field(
        default=None, description="Header of the service's responses and the client's requests, instead of a cookie."
    )
    idle: Annotated[Duration, Field(ge=1)] = Field(
        default=86400.0, description="Time after its last request that a session of a header is forgotten."
    )

    @property
    def shown(self) -> str:
        """The settings in short, for `propylon explain`."""
        return f"cookie {self.cookie}" if self.header is None else f"header {self.header}"

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        given = self.model_fields_set
        if self.header is None and "idle" in given:
            raise ValueError("'idle' is for sessions of a 'header': write 'max_age' for a cookie")
        if self.header is not None and (useless := sorted(given - {"header", "idle"})):
            raise ValueError(f"{', '.join(useless)}: of no use with 'header', which needs no cookie")
        return self

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
    """Affinity by cookie or by header; p2c for clients without one."""

    __slots__ = ("_alone", "_fallback", "_memory")

    decides_alone = True

    def __init__(self, config: Config, chance: Chance) -> None:
        header = config.header
        self._memory = ByCookie(config) if header is None else ByHeader(header, config.idle, chance.clock)
        self._fallback = p2c.Balancer(p2c.Config(), chance)
        self._alone = False

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the endpoints to choose from."""
        self._alone = len(endpoints) == 1
        self._memory.update(endpoints)
        self._fallback.update(endpoints)

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Return the endpoint that the client belongs to, or choose one."""
        endpoint = self._memory.find(x)
        if endpoint is not None and (endpoint not in avoid or self._alone):
            return endpoint
        return self._fallback.pick(x, avoid)

    def holds(self, x: Exchange) -> bool:
        """Return whether the client belongs to an endpoint that can serve."""
        return self._memory.find(x) is not None

    def learn(self, x: Exchange, endpoint: Endpoint, head: ResponseHead) -> None:
        """Take notice of a response."""
        self._memory.learn(x, endpoint, head)

    def fields(self, x: Exchange, endpoint: Endpoint) -> bytes:
        """Return the Set-Cookie field, if the client needs one."""
        return self._memory.fields(x, endpoint)
