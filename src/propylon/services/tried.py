"""What a service sees of an attempt (`engine/attempt.py`): which of its endpoints it went to, and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from propylon.services.endpoint import Endpoint


class Try(Protocol):
    """One attempt at an endpoint of the service; the attributes mean what they mean there."""

    @property
    def endpoint(self) -> Endpoint:
        """What the service has chosen."""

    since: float
    began: float
    probe: bool
    service_probe: bool
    rows: tuple[int, int] | None
