"""Providers of the endpoints of services: one file is one provider and one name in YAML.

A provider is a module with `Config`, a frozen pydantic model that refuses unknown keys, and `Provider`, a class made
with a `Config` and a `ProviderContext`. Names of other modules here begin with an underscore. Other packages add
providers by entry points of the group `propylon.discovery`.
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
        weight: its relative share; 0 to drain it (no new requests).
        priority: its tier; a higher number is used only when the lower ones are not healthy enough.
        zone: its zone, if known.
    """

    url: str
    weight: int = 1
    priority: int = 0
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """The context of a provider.

    Attributes:
        service: the name of the service.
        base_dir: the folder of the configuration file.
    """

    service: str
    base_dir: Path


class DiscoveryError(Exception):
    """Discovery has failed; the message is for the operator's log, and may name addresses."""


class Provider(Protocol):
    """One source of endpoints. It has no retry loop: the caller restarts it."""

    def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
        """Yield the whole list of endpoints of the service, initially and after each change.

        An empty list means that there are none; if the list cannot be determined, raise.

        Raises:
            DiscoveryError: discovery failed; `watch` is called again after a delay.
        """
