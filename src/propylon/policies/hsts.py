"""Make browsers use https only, for a period of time (HTTP Strict Transport Security, RFC 6797).

    policies:
      - hsts: {max_age: 365d, subdomains: true, preload: false}     # the same as: hsts

Strict-Transport-Security is set on responses to https requests only: over TLS, or with the scheme https from a trusted
proxy. From responses over plain http it is removed (RFC 6797 7.2); a listener with `redirect_https` redirects clients
to https. Start with a short `max_age`: a browser refuses plain http until it has expired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import Bool, Duration

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope

NAME = "strict-transport-security"
YEAR_SECONDS = 365 * 86400.0  # the minimum for the preload lists of browsers


class Config(BaseModel):
    """The period and the hosts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_age: Duration = Field(default=YEAR_SECONDS, description="How long browsers use https only; 0 ends it.")
    subdomains: Bool = Field(default=True, description="Include all subdomains of the host.")
    preload: Bool = Field(default=False, description="Consent to inclusion in the preload lists of browsers.")

    @model_validator(mode="after")
    def _fit_for_the_lists(self) -> Self:
        if self.preload and not (self.subdomains and self.max_age >= YEAR_SECONDS):
            raise ValueError("'preload' needs 'subdomains: true' and a 'max_age' of 365d at least")
        return self


class Policy:
    """Sets or removes Strict-Transport-Security."""

    def __init__(self, config: Config, scope: Scope) -> None:
        subdomains = "; includeSubDomains" if config.subdomains else ""
        preload = "; preload" if config.preload else ""
        self._value = f"max-age={config.max_age:.0f}{subdomains}{preload}"

    def on_response(self, x: Exchange) -> None:
        """Replace or remove the service's field."""
        if x.response is None:
            return
        if x.origin.scheme == b"https":
            x.response.headers.set(NAME, self._value)
        else:
            x.response.headers.remove(NAME)
