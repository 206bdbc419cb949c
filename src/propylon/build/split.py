"""From `split:` of a route to what picks its service."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, Final

from propylon.build.service import CHANCE
from propylon.engine.split import Luck, Share, Source, Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from propylon.config.schema.split import ChooseConfig, SplitConfig, StickyConfig
    from propylon.engine.snapshot import CompiledRoute

_ID_BYTES: Final = 16


def build_split(config: SplitConfig, variants: Mapping[str, CompiledRoute]) -> Split:
    """Make a split of the route's variants, one for each service."""
    shares = [Share(name, weight, variants[name]) for name, weight in config.services.items()]
    luck = Luck(CHANCE.random, _new_id)
    return Split(shares, _source(config.choose), _source(config.sticky), luck)


def _source(config: ChooseConfig | StickyConfig | None) -> Source | None:
    if config is None:
        return None
    if config.header is not None:
        return Source("header", config.header.lower().encode("ascii"))
    if config.cookie is not None:
        max_age = getattr(config, "max_age", None)
        return Source("cookie", config.cookie.encode("ascii"), None if max_age is None else int(max_age))
    return Source("client")


def _new_id() -> bytes:
    return token_hex(_ID_BYTES).encode("ascii")
