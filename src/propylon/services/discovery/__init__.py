"""Where the endpoints of a service come from: one file is one provider and one name in YAML.

A provider is a module with `Config`, a frozen pydantic model that refuses unknown keys, and `Provider`, a class made
with one `Config` and a `ProviderContext`. Modules here that are no provider begin with an underscore. Other packages
add theirs by entry points of the group `propylon.discovery`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """An endpoint as a provider found it.

    Attributes:
        url: `http://host:port`, `https://…` or `unix:…`, as in the configuration.
        weight: its share; 0 for one that is to get no new requests (it drains).
        priority: its tier; a higher number is used only when the lower ones are not healthy enough.
        zone: where it runs, if that is known.
    """

    url: str
    weight: int = 1
    priority: int = 0
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """What a provider is told about where it works.

    Attributes:
        service: the name of the service.
        base_dir: the folder of the configuration file.
    """

    service: str
    base_dir: Path


class DiscoveryError(Exception):
    """The endpoints cannot be found now; the message, which may name addresses, is for the operator's log."""


class Provider(Protocol):
    """One source of endpoints. It has no loop of retries of its own: who watches it starts it again."""

    def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
        """Yield all endpoints of the service, and again all of them whenever they have changed.

        An empty list says that there are none; whatever keeps the provider from knowing raises.

        Raises:
            DiscoveryError: it cannot go on; it will be called again after a while.
        """
