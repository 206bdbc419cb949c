"""The part of an attempt (`engine/attempt.py`) that a service uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from propylon.services.endpoint import Endpoint


class Try(Protocol):
    """One attempt at an endpoint of the service; the attributes are those of `Attempt`."""

    @property
    def endpoint(self) -> Endpoint:
        """The chosen endpoint."""

    since: float
    began: float
    probe: bool
    service_probe: bool
    rows: tuple[int, int] | None
