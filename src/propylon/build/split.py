"""Builds the split of a route from `split:`."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, Final

from propylon.build.service import CHANCE
from propylon.engine.split import Luck, Share, Split, StickyCookie
from propylon.routing.key import BY_CLIENT, by_cookie, by_header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from propylon.config.schema.split import ChooseConfig, SplitConfig, StickyConfig
    from propylon.engine.snapshot import CompiledRoute
    from propylon.routing.key import Key

_ID_BYTES: Final = 16


def build_split(config: SplitConfig, variants: Mapping[str, CompiledRoute]) -> Split:
    """Build the split of the route's variants, one for each service."""
    shares = [Share(name, weight, variants[name]) for name, weight in config.services.items()]
    luck = Luck(CHANCE.random, _new_id)
    return Split(shares, _choose(config.choose), _sticky(config.sticky), luck)


def _choose(config: ChooseConfig | None) -> Key | None:
    if config is None:
        return None
    return by_header(config.header) if config.header is not None else by_cookie(str(config.cookie))


def _sticky(config: StickyConfig | None) -> Key | StickyCookie | None:
    if config is None:
        return None
    if config.cookie is not None:
        return StickyCookie(config.cookie, None if config.max_age is None else int(config.max_age))
    return by_header(config.header) if config.header is not None else BY_CLIENT


def _new_id() -> bytes:
    return token_hex(_ID_BYTES).encode("ascii")
