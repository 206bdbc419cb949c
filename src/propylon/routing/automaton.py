"""Ambiguity of an automaton: the proof behind `safe_regex`.

A state is one character set of a pattern; `follow` lists its successors, once for each transition. Backtracking
explores paths, so its cost is the number of paths that match a prefix of the input. That number is bounded
(matching is linear) unless a loop exists twice (EDA) or a loop leads to another one on the same input (IDA).
Bounded ambiguity, as in `jpg|jpeg`, is accepted as long as the number of paths stays small.
"""

from __future__ import annotations

EVERY_BYTE = (1 << 256) - 1
_MAX_PATHS = 256  # paths for the same input
_MAX_STEPS = 30_000  # of the search for two loops that share an input

Triple = tuple[int, int, int]


class TooComplex(Exception):
    """The search exceeded its limit of steps."""


class Automaton:
    """States with their character sets (256-bit masks) and successors."""

    __slots__ = ("_steps", "follow", "masks", "reach")

    def __init__(self) -> None:
        self.masks: list[int] = []
        self.follow: list[list[int]] = []
        self.reach: list[int] = []
        self._steps = 0

    def add(self, mask: int) -> int:
        """Add a state; return its number."""
        self.masks.append(mask)
        self.follow.append([])
        return len(self.masks) - 1

    def ambiguity(self) -> str:
        """Return why matching is not linear; "" if it is. Raises `TooComplex` if the search takes too long."""
        self.reach = self._reachable()
        looping = [state for state in range(len(self.masks)) if self._reaches(state, state)]
        for state in looping:
            again = [other for other in self.follow[state] if self._reaches(other, state)]
            if len(again) != len(set(again)):
                return "a quantifier repeats something that is itself repeated, as (a+)+ does"
        paths = 1
        for following in self.follow:
            paths *= self._overlap(following)
            if paths > _MAX_PATHS:
                return "too many of its alternatives or counted repeats can match the same characters"
        for state in looping:
            for other in looping:
                if state != other and self._reaches(state, other) and self._share_input(state, other):
                    return "two repeated parts can match the same characters, as a+a+ or .*x.*y do"
        return ""

    def _reaches(self, state: int, other: int) -> bool:
        return bool(self.reach[state] >> other & 1)

    def _reachable(self) -> list[int]:
        """Return for each state the set of states reachable in one step or more (Warshall, on bit sets)."""
        reach = [sum(1 << other for other in set(following)) for following in self.follow]
        for middle in range(len(reach)):
            for state in range(len(reach)):
                if reach[state] >> middle & 1:
                    reach[state] |= reach[middle]
        return reach

    def _overlap(self, following: list[int]) -> int:
        """Return the maximum number of these states that one byte can lead to."""
        at_least: list[int] = []  # at_least[n]: the bytes that n + 1 states have in common
        for state in following:
            carried = self.masks[state]
            for count in range(len(at_least)):
                at_least[count], carried = at_least[count] | carried, at_least[count] & carried
            if carried:
                at_least.append(carried)
        return max(len(at_least), 1)

    def _share_input(self, loop: int, later: int) -> bool:
        """Return whether one input leads from `loop` to itself, from `loop` to `later`, and from `later` to itself."""
        goal: Triple = (loop, later, later)
        seen: set[Triple] = set()
        waiting: list[Triple] = [(loop, loop, later)]
        while waiting:
            first, second, third = waiting.pop()
            for triple in self._steps_from(first, second, third, goal):
                if triple == goal:
                    return True
                if triple not in seen:
                    seen.add(triple)
                    waiting.append(triple)
        return False

    def _steps_from(self, first: int, second: int, third: int, goal: Triple) -> list[Triple]:
        """Return the successors of three states on the same byte from which each can still reach its goal."""
        found: list[Triple] = []
        for one in self.follow[first]:
            if not self._reaches(one, goal[0]):
                continue
            for two in self.follow[second]:
                both = self.masks[one] & self.masks[two]
                if not both or (two != goal[1] and not self._reaches(two, goal[1])):
                    continue
                for three in self.follow[third]:
                    self._steps += 1
                    if both & self.masks[three] and self._reaches(three, goal[2]):
                        found.append((one, two, three))
        if self._steps > _MAX_STEPS:
            raise TooComplex
        return found
