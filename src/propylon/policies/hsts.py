"""Tell browsers to come by https only, for a while (HTTP Strict Transport Security, RFC 6797).

    policies:
      - hsts: {max_age: 365d, subdomains: true, preload: false}
      - hsts                            # the same

Strict-Transport-Security is set on answers to https requests only: those over TLS, and those that a trusted proxy says
came by https. From answers over plain http it is removed (RFC 6797 7.2); a listener with `redirect_https` sends clients
to https. Begin with a short `max_age`: a browser that has seen a long one refuses plain http until it has passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import Bool, Duration

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope

NAME = "strict-transport-security"
YEAR_SECONDS = 365 * 86400.0  # what the lists of browsers ask for


class Config(BaseModel):
    """For how long, and for which hosts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_age: Duration = Field(default=YEAR_SECONDS, description="How long browsers remember it; 0 makes them forget.")
    subdomains: Bool = Field(default=True, description="It holds for all hosts below this one too.")
    preload: Bool = Field(default=False, description="Agree to be on the lists that browsers come with.")

    @model_validator(mode="after")
    def _fit_for_the_lists(self) -> Self:
        if self.preload and not (self.subdomains and self.max_age >= YEAR_SECONDS):
            raise ValueError("'preload' needs 'subdomains: true' and a 'max_age' of 365d at least")
        return self


class Policy:
    """Sets or removes one field."""

    def __init__(self, config: Config, scope: Scope) -> None:
        subdomains = "; includeSubDomains" if config.subdomains else ""
        preload = "; preload" if config.preload else ""
        self._value = f"max-age={config.max_age:.0f}{subdomains}{preload}"

    def on_response(self, x: Exchange) -> None:
        """Change what the service said about it."""
        if x.response is None:
            return
        if x.origin.scheme == b"https":
            x.response.headers.set(NAME, self._value)
        else:
            x.response.headers.remove(NAME)
