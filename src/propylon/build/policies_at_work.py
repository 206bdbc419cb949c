"""Which policies at work are still what a new configuration wants.

A policy stays the same as long as its place, its name and its settings do:

- Among the policies of one place it is found by name and settings, wherever it stands in the list; of several such the
  one with the same conditions, then the first that is left.
- Its settings are what its `Config` was given, the content of the files that are named there, and the Python class it
  is made of. A class whose module was imported anew is the same if the code of all modules beside the configuration is.
- An object that a Python program gives is itself, wherever it stands.
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
    """The policies that a new configuration may go on with.

    Attributes:
        policies: those of the configuration in use.
        living: those too that exchanges under way still use, or that are being closed.
        same_code: whether the modules beside the configuration, as they are imported now, are those that these policies
            were made of.
    """

    policies: Sequence[PlacedPolicy] = ()
    living: Sequence[PlacedPolicy] = ()
    same_code: Callable[[], bool] = lambda: True


NO_POLICIES: Final = PoliciesAtWork()


class Settings(NamedTuple):
    """What a policy is made of: its validated settings, and digests of the files that they name."""

    config: object
    files: tuple[bytes, ...] = ()


class Wanted(NamedTuple):
    """An entry of a configuration: the keys that lead to it, and what its policy is to be made of."""

    where: str
    entry: PolicyEntry
    settings: Settings


class Reusable:
    """The policies at work that a new configuration has not taken over yet."""

    def __init__(self, at_work: PoliciesAtWork) -> None:
        self._same_code = at_work.same_code
        self._free: dict[Hashable, list[PlacedPolicy]] = {}
        for each in at_work.policies:
            self._free.setdefault(each.place, []).append(each)

    def take(self, place: Hashable, wanted: Sequence[Wanted]) -> dict[int, PlacedPolicy]:
        """Return the policies that stay of those wanted at a place, by their numbers in the list.

        What a comparison of settings raises comes out: they may be anybody's code.
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
    """Tell whether the same keys were given in two equal settings: one that is left out may mean something else."""
    if isinstance(old, BaseModel):
        pairs = ((getattr(old, name), getattr(new, name)) for name in type(old).model_fields)
        return old.model_fields_set == new.model_fields_set and all(_were_given(*pair) for pair in pairs)
    if isinstance(old, Mapping):
        return all(_were_given(value, new[key]) for key, value in old.items())
    if isinstance(old, list | tuple):
        return all(map(_were_given, old, new))
    return True
