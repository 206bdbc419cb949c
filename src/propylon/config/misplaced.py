"""Keys that are indented wrongly: unknown where they stand, but known in a mapping around them or above them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from propylon.config.schema.base import keys_at
from propylon.config.schema.gateway import GatewayConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from propylon.config.problems import ConfigSource, Path, Position


class Home(NamedTuple):
    """The mapping that a key belongs to, and the way out."""

    path: Path
    hint: str


MAX_KEYS: Final = 100
"""The number of unknown keys to look at: with more, the file is no configuration at all."""


class Homes:
    """Finds where misplaced keys of one file belong."""

    def __init__(self, source: ConfigSource) -> None:
        self._source = source
        written = [(at, path) for path, at in source.keys.items() if at.line is not None and at.column is not None]
        self._written = sorted(written, key=lambda item: _order(item[0]))

    def of(self, path: Path) -> Home | None:
        """Return where the unknown key at `path` belongs, if that is clear."""
        at = self._source.keys.get(path)
        if at is None or at.line is None or not isinstance(path[-1], str):
            return None
        for place in self._around(path, at):
            first = self._first_key(place)
            if first is None or first.line == at.line or first.file != at.file or first.column is None:
                continue
            if path[-1] in keys_at(GatewayConfig, place) and (*place, path[-1]) not in self._source.keys:
                spaces = f"{first.column - 1} space{'' if first.column == 2 else 's'}"
                owner = ".".join(map(str, place)) or "the file"
                if self._is_beside_another(path, at):  # in flow style there is nothing to align
                    return Home(place, f"move it beside line {first.line}: it is a key of {owner}")
                return Home(place, f"align it with line {first.line}, by {spaces}: it is a key of {owner}")
        return None

    def _is_beside_another(self, path: Path, at: Position) -> bool:
        return any(
            place.line == at.line and other[:-1] == path[:-1] and other != path for place, other in self._written
        )

    def _around(self, path: Path, at: Position) -> Iterator[Path]:
        """Yield the mappings that the key may belong to, the nearest first."""
        before = [other for place, other in self._written if place.file == at.file and _order(place) < _order(at)]
        for near in (before[-1] if before else (), path):
            yield from (near[:length] for length in range(len(near) - 1, -1, -1) if near[:length] != path[:-1])

    def _first_key(self, place: Path) -> Position | None:
        found = (at for at, path in self._written if path[:-1] == place)
        return next(found, None)


def _order(at: Position) -> tuple[str, int, int]:
    return at.file, at.line or 0, at.column or 0
