"""Selection of the policies at work that a new configuration reuses.

A policy is reused while its place, its name and its settings are the same:

- Within one place it is matched by name and settings, regardless of its index in the list; of several matches the one
  with the same conditions is preferred, then the first unused one.
- Its settings are the values given to its `Config`, the content of the files referred to there, and its Python class. A
  class of a reimported module is the same if the code of all modules beside the configuration is.
- An object given by a Python program is identified by itself, regardless of its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from propylon.config.schema import PolicyEntry
    from propylon.engine.scope import PlacedPolicy


@dataclass(frozen=True, slots=True)
class PoliciesAtWork:
    """The policies that a new configuration may reuse.

    Attributes:
        policies: the policies of the current configuration.
        living: these, and those that exchanges in flight still use or that are being closed.
        same_code: whether the modules beside the configuration, as imported now, have the code that these policies were
            created from.
    """

    policies: Sequence[PlacedPolicy] = ()
    living: Sequence[PlacedPolicy] = ()
    same_code: Callable[[], bool] = lambda: True


NO_POLICIES: Final = PoliciesAtWork()


class Settings(NamedTuple):
    """The settings of a policy: validated, with digests of the files that they refer to."""

    config: object
    files: tuple[bytes, ...] = ()


class Wanted(NamedTuple):
    """An entry of a configuration: its path of keys, and the settings for its policy."""

    where: str
    entry: PolicyEntry
    settings: Settings


class Reusable:
    """The policies at work that a new configuration has not reused yet."""

    def __init__(self, at_work: PoliciesAtWork) -> None:
        self._same_code = at_work.same_code
        self._free: dict[Hashable, list[PlacedPolicy]] = {}
        for each in at_work.policies:
            self._free.setdefault(each.place, []).append(each)

    def take(self, place: Hashable, wanted: Sequence[Wanted]) -> dict[int, PlacedPolicy]:
        """Return the policies to reuse for the entries of a place, by their indices in the list.

        Exceptions of comparing settings, which may run user code, are passed on.
        """
        free = self._free.get(place, [])
        found: dict[int, PlacedPolicy] = {}
        for exactly in (True, False):
            for number, each in enumerate(wanted):
                if free and number not in found and each.entry.instance is None:
                    fits = (placed for placed in free if self._fits(placed, each, exactly))
                    if (placed := next(fits, None)) is not None:
                        found[number] = placed
                        free.remove(placed)
        return found

    def _fits(self, placed: PlacedPolicy, wanted: Wanted, exactly: bool) -> bool:
        entry = wanted.entry
        if placed.name != entry.name or (exactly and placed.conditions != (entry.when, entry.unless)):
            return False
        old, new = placed.settings, wanted.settings
        return old.files == new.files and self._are_same(old.config, new.config)

    def _are_same(self, old: Any, new: Any) -> bool:
        if not isinstance(new, BaseModel) or type(old) is not type(new):
            return bool(old == new)
        pairs = {name: (getattr(old, name), getattr(new, name)) for name in type(new).model_fields}
        same = {name: pair[0] for name, pair in pairs.items() if self._is_same_class(*pair)}
        return bool(old == new.model_copy(update=same)) and _were_given(old, new)

    def _is_same_class(self, old: object, new: object) -> bool:
        if not isinstance(old, type) or not isinstance(new, type) or old is new:
            return False
        names = [(each.__module__, each.__qualname__) for each in (old, new)]
        return names[0] == names[1] and self._same_code()


def _were_given(old: Any, new: Any) -> bool:
    """Return whether two equal settings were given the same keys: a default may mean something else than its value."""
    if isinstance(old, BaseModel):
        pairs = ((getattr(old, name), getattr(new, name)) for name in type(old).model_fields)
        return old.model_fields_set == new.model_fields_set and all(_were_given(*pair) for pair in pairs)
    if isinstance(old, Mapping):
        return all(_were_given(value, new[key]) for key, value in old.items())
    if isinstance(old, list | tuple):
        return all(map(_were_given, old, new))
    return True
