"""Change how request ids are chosen. Every exchange has an id, also without this policy.

By default the client's `x-request-id` is kept if it is 1 to 128 safe characters, otherwise a UUIDv7 is generated; the
id is sent to the service and to the client, and is in every log line.

    policies:
      - request_id: {trust: false}      # always generate a new one
      - request_id: {respond: false}    # do not send it to the client
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from propylon.http.request_id import RequestIds

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope


class Config(BaseModel):
    """The source of ids, and whether clients get them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trust: bool = Field(default=True, strict=True, description="Keep a client's id if it is safe.")
    respond: bool = Field(default=True, strict=True, description="Send the id to the client.")


class Policy:
    """Replaces the id, or hides it from the client."""

    def __init__(self, config: Config, scope: Scope) -> None:
        self._config = config
        self._new = RequestIds(time.time, random.Random().getrandbits)  # noqa: S311 - unique, not secret

    def on_request(self, x: Exchange) -> None:
        """Apply both settings."""
        if not self._config.trust:
            x.id = self._new()
        x.shows_request_id = self._config.respond
