"""Formats a YAML file: indentation, spaces and blank lines. Comments, anchors, quotes and the order of keys stay.

The tokens of the scanner are written again, one after the other; what is between two of them, white space and comments,
is normalised. Rules of the file: blocks are indented by two spaces, lists within mappings too; values over several
lines (flow collections, text) keep their shape, and move with the line that they begin in; the result has the same
events as the source, which is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import yaml

from propylon.config import document
from propylon.config.document import LOADER
from propylon.config.format_text import block_scalar, continued

INDENT: Final = 2

_OPENING: Final = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)
_CLOSING: Final = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
_BLOCKS: Final = (yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken)
# Tokens that could run into what follows; a value may be missing before ',' and '}'.
_RUNNING_ON: Final = (
    yaml.AnchorToken, yaml.BlockEntryToken, yaml.KeyToken, yaml.TagToken, yaml.ValueToken,
)  # fmt: skip
_AT_MARGIN: Final = (yaml.DirectiveToken, yaml.DocumentStartToken, yaml.DocumentEndToken, yaml.StreamEndToken)


def formatted(text: str, name: str) -> str:
    """Return the text of a file, formatted.

    Raises:
        ConfigError: it is not YAML.
        FormatError: the result would mean something else.
    """
    document.parse(text, name)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    meaning = _events(text)
    result = _Formatter(text if text.endswith("\n") else f"{text}\n").formatted()
    if _events(result) != meaning and not text.endswith("\n"):
        result = result.removesuffix("\n")  # of a block scalar at the end, the line break is content
    if _events(result) != meaning:
        raise FormatError(f"{name} cannot be formatted without changing what it means")
    return result


class FormatError(Exception):
    """A file that cannot be formatted; the message is a sentence."""


def _events(text: str) -> list[tuple[Any, ...]] | None:
    """Return what a text means: its events without their positions; `None` if it is not YAML."""
    names = ("anchor", "tag", "value", "style", "implicit", "flow_style", "explicit", "version", "tags")
    try:
        return [
            (type(event), *(getattr(event, name, None) for name in names)) for event in yaml.parse(text, Loader=LOADER)
        ]
    except yaml.YAMLError:
        return None


@dataclass(slots=True)
class _Block:
    """An open block collection: the columns before and after."""

    old: int
    new: int
    is_list: bool
    indentless: bool = False
    """Whether the list is not indented below its key, which the scanner does not announce."""


class _Move(NamedTuple):
    """How a value over several lines moves: its own columns, and by how much the line that it begins in moves."""

    old: int
    new: int
    line: int

    def column(self, old: int, least: int) -> int:
        """Return the new column of a further line: what is right of the value's begin moves with it."""
        return max(old + (self.new - self.old if old > self.old else self.line), least)


class _Formatter:
    """Formats one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._out: list[str] = []
        self._column = 0  # of the output
        self._line_move = 0  # by how much the current line has moved
        self._position = 0  # in the text, behind the last token
        self._last: Any = None
        self._blocks: list[_Block] = []
        self._open: list[_Block] = []  # the blocks at the last token
        self._flow: list[_Move] = []
        self._key_follows = False

    def formatted(self) -> str:
        for token in yaml.scan(self._text, Loader=LOADER):
            start, end = token.start_mark.index, token.end_mark.index
            if isinstance(token, _BLOCKS):
                self._open_block(token, start)
            elif isinstance(token, yaml.BlockEndToken):
                self._close_block()
            elif isinstance(token, yaml.KeyToken) and not self._flow:
                self._begin_key()
            if end > start or isinstance(token, yaml.StreamEndToken):
                self._write(token, start, end)
        written = "".join(self._out)
        return f"{written}\n" if written else ""

    # blocks

    def _open_block(self, token: Any, start: int) -> None:
        old = token.start_mark.column
        if self._is_first_in_line(start):
            new = self._blocks[-1].new + INDENT if self._blocks else 0
        else:
            new = self._column + 1
        self._blocks.append(_Block(old, new, isinstance(token, yaml.BlockSequenceStartToken)))

    def _close_block(self) -> None:
        if self._blocks[-1].indentless:
            self._blocks.pop()
        self._blocks.pop()

    def _begin_key(self) -> None:
        if self._blocks and self._blocks[-1].indentless:
            self._blocks.pop()
        self._key_follows = True

    def _is_first_in_line(self, start: int) -> bool:
        return not self._text[self._text.rfind("\n", 0, start) + 1 : start].strip(" \t\ufeff")

    # tokens

    def _write(self, token: Any, start: int, end: int) -> None:
        if isinstance(token, yaml.BlockEntryToken) and not self._blocks[-1].is_list:
            above = self._blocks[-1]
            self._blocks.append(_Block(above.old, above.new + INDENT, is_list=True, indentless=True))
        gap = self._text[self._position : start]
        old = token.start_mark.column
        if "\n" in gap or not self._out:
            self._begin_line(gap, token, old)
        else:
            self._put(self._space(token))
        move = _Move(old, self._column, self._line_move)
        if isinstance(token, _OPENING):
            self._flow.append(move)
        elif isinstance(token, _CLOSING):
            self._flow.pop()
        self._position = end
        self._put(self._written(token, self._text[start:end], move))
        self._last, self._key_follows = token, False
        self._open = list(self._blocks)

    def _written(self, token: Any, text: str, move: _Move) -> str:
        """Return the text of a token, which has several lines if it is a scalar."""
        if "\n" not in text:
            return text
        base = self._blocks[-1] if self._blocks else None
        if token.style in ("|", ">"):
            old, new = (base.old, base.new) if base else (-1, -1)
            written, used = block_scalar(text, old, new)
            self._position = token.start_mark.index + used
            return written
        outer = self._flow[0] if self._flow else move
        least = base.new + INDENT if base else 0
        return continued(text, lambda column: outer.column(column, least))

    def _put(self, text: str) -> None:
        self._out.append(text)
        begin = text.rfind("\n") + 1
        self._column = len(text) - begin + (0 if begin else self._column)

    # white space

    def _space(self, token: Any) -> str:
        """Return what is between two tokens of a line."""
        ends_key = isinstance(token, yaml.ValueToken)
        if isinstance(self._last, _RUNNING_ON) or (ends_key and isinstance(self._last, yaml.AliasToken)):
            return " "
        if isinstance(self._last, _OPENING):
            return ""
        return "" if ends_key or isinstance(token, (*_CLOSING, yaml.FlowEntryToken)) else " "

    def _begin_line(self, gap: str, token: Any, old: int) -> None:
        """Write comments and blank lines, and begin the line of a token."""
        new = self._column_of(token, old)
        first, *lines = gap.split("\n") if self._out else ["", *gap.split("\n")]
        if comment := first.strip():
            self._put(f" {comment}")
        blank = False
        for line in lines[:-1]:
            comment = line.strip(" \t\ufeff")
            if comment:
                column = self._column_of_comment(len(line) - len(line.lstrip()), old, new)
                self._put(f"{self._break(blank)}{' ' * column}{comment}")
            blank = not comment and bool(self._out)
        if not isinstance(token, yaml.StreamEndToken):
            self._put(f"{self._break(blank)}{' ' * new}")
            self._line_move = new - old

    def _break(self, blank: bool) -> str:
        return "" if not self._out else "\n\n" if blank else "\n"

    def _column_of(self, token: Any, old: int) -> int:
        """Return the column of the first token of a line."""
        if isinstance(token, _AT_MARGIN) or not self._blocks:
            return 0 if not self._flow else self._flow[0].column(old, 0)
        block = self._blocks[-1]
        if self._flow:
            return self._flow[0].column(old, block.new)
        if self._key_follows or isinstance(token, yaml.BlockEntryToken | yaml.ValueToken):
            return block.new
        return block.new + INDENT

    def _column_of_comment(self, column: int, old: int, new: int) -> int:
        """Return the column of a comment on its own line, before a token that moves from `old` to `new`."""
        if self._flow:
            return self._flow[0].column(column, self._blocks[-1].new if self._blocks else 0)
        if column > old:  # it belongs to a block that ends here
            above = [block for block in self._open if block.old <= column]
            return max(new, max(above, key=lambda block: (block.old, block.new)).new) if above else new
        return new
