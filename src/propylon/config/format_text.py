"""Text over several lines, for `format.py`: block scalars, and the further lines of plain and quoted scalars."""

import re
from collections.abc import Callable
from typing import Final

INDENT: Final = 2

_HEADER: Final = re.compile(r"[|>](?P<chomp>[+-]?)(?P<indent>[1-9]?)(?P<chomp_after>[+-]?)")


def block_scalar(text: str, old: int, new: int) -> tuple[str, int]:
    """Return a block scalar, indented below its block, and the length of the source without the lines behind it.

    Args:
        text: the source from its header on, with line breaks behind it.
        old: the column of the block that it is in, -1 for none.
        new: the column that this block gets.
    """
    header, *lines = text.split("\n")
    found = _HEADER.match(header)
    assert found is not None
    keeps = "+" in (found["chomp"], found["chomp_after"])
    indents = [len(line) - len(line.lstrip(" ")) for line in lines if line.strip(" ")]
    if found["indent"]:
        before, after = max(old, 0) + int(found["indent"]), max(new, 0) + int(found["indent"])
    else:
        before, after = (indents[0] if indents else len(text)), max(new, 0) + INDENT
    last = max((number for number, line in enumerate(lines) if line[before:]), default=-1)
    content = lines[: len(lines) - 1 if keeps else last + 1]
    used = len(header) + sum(len(line) + 1 for line in content)
    written = [f"{' ' * after}{line[before:]}" if line[before:] else "" for line in content]
    comment = header.removeprefix(found[0]).strip()
    return "\n".join([f"{found[0]} {comment}".rstrip(), *written]), used


def continued(text: str, column: Callable[[int], int]) -> str:
    """Return a plain or quoted scalar with its further lines at other columns.

    Args:
        column: returns the new column for one before.
    """
    first, *lines = text.split("\n")
    moved = [(line.lstrip(" \t"), len(line) - len(line.lstrip(" \t"))) for line in lines]
    return "\n".join([first, *(f"{' ' * column(at)}{line}" if line else "" for line, at in moved)])
