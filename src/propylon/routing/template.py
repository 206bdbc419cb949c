"""Templates: text of the configuration with parts of the request in it, as `/v2/{id}/{*}` or `{client.address}`.

Rules of this file:

- `{name}` is a parameter of the route's path, `{*}` what its final `*` matched. Names with a dot are facts of the
  request (`facts.py`), so a parameter never hides a fact. `{{name}}` is the text `{name}`: each further pair of braces
  takes one off. All other braces, such as those of JSON, are text.
- A name that is not known is an error when the configuration is checked. In content (`LENIENT` places), which may have
  braces of its own, it is text, and so is what follows a `$`.
- A value is encoded for its place (`template_places.py`), so that it cannot end the field, segment or parameter.
- Text that other programs would replace, such as `$remote_addr`, is refused with what to write instead.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from propylon.routing.facts import CAPTURED, FACTS, HOST_REST
from propylon.routing.foreign import foreign_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.routing.captures import Captures
    from propylon.routing.facts import Facts

_NAME: Final = r"\*|[A-Za-z0-9_][\w.-]*(?:\.\*)?"
_HOLE: Final = re.compile(rf"(\{{+)({_NAME})(\}}+)", re.ASCII)


class TemplateError(ValueError):
    """An invalid template; the message is a sentence for the operator."""


class Place(NamedTuple):
    """A place for templates.

    Attributes:
        literal: encodes the text of the configuration.
        value: encodes a value of the request of one of the kinds.
        lenient: whether names that are not known are text.
    """

    literal: Callable[[str], bytes]
    value: Callable[[bytes, str], bytes]
    lenient: bool = False


class _Hole(NamedTuple):
    """A name in a text.

    Attributes:
        inserts: whether a value takes its place; otherwise it is text in double braces.
        written: the text, braces included.
        unbraced: the text with one pair of braces less.
    """

    name: str
    inserts: bool
    written: bytes
    unbraced: bytes


class Template:
    """A compiled template.

    Attributes:
        names: the names that values take the place of.
        text: as written.
    """

    __slots__ = ("_lenient", "_pieces", "_value", "names", "text")

    def __init__(self, text: str, place: Place) -> None:
        """Compile a text. Raises `TemplateError` for text that is surely meant otherwise."""
        if not place.lenient and (problem := foreign_text(text)) is not None:
            raise TemplateError(problem)
        self.text = text
        self._value = place.value
        self._lenient = place.lenient
        pieces = _pieces(text, place)
        self.names = tuple(piece.name for piece in pieces if isinstance(piece, _Hole) and piece.inserts)
        self._pieces: tuple[bytes | _Hole, ...] = tuple(piece for piece in pieces if piece)

    @property
    def fixed(self) -> bytes | None:
        """The text, if it is the same for every request."""
        if any(isinstance(piece, _Hole) for piece in self._pieces):
            return None
        return b"".join([piece for piece in self._pieces if isinstance(piece, bytes)])

    def problem(self, captures: Captures) -> str | None:
        """Return what is wrong with its names, with a way out; None if nothing is."""
        if self._lenient:
            return None
        return next((problem for name in self.names if (problem := captures.problem(name)) is not None), None)

    def fill(self, request: Facts) -> bytes:
        """Return the text with the values of a request, encoded for its place."""
        return b"".join([piece if isinstance(piece, bytes) else self._filled(piece, request) for piece in self._pieces])

    def _filled(self, hole: _Hole, request: Facts) -> bytes:
        if self._lenient and not request.route.captures.has(hole.name):
            return hole.written
        if not hole.inserts:
            return hole.unbraced
        name = hole.name
        if name == "*":
            return self._value(request.path_rest, CAPTURED)
        fact = HOST_REST if name == "host.*" else FACTS.get(name)
        if fact is None:
            return self._value(request.path_params.get(name, b""), CAPTURED)
        return self._value(fact.read(request), fact.kind)


def _pieces(text: str, place: Place) -> list[bytes | _Hole]:
    literal = place.literal
    pieces: list[bytes | _Hole] = []
    start = 0
    for found in _HOLE.finditer(text):
        if place.lenient and text[: found.start()].endswith("$"):
            continue
        depth = min(len(found[1]), len(found[3]))  # further braces on one side are text
        begin, end = found.end(1) - depth, found.start(3) + depth
        unbraced = literal(text[begin + 1 : end - 1])
        pieces.append(literal(text[start:begin]))
        if depth > 1 and not place.lenient:
            pieces.append(unbraced)
        else:
            pieces.append(_Hole(found[2], depth == 1, literal(text[begin:end]), unbraced))
        start = end
    pieces.append(literal(text[start:]))
    return pieces


def sampled(text: str) -> str:
    """Return a text with `x` in place of every name, and of braces that are doubled: what remains is literal."""
    return _HOLE.sub(lambda found: "x" if len(found[1]) == len(found[3]) else found[0], text)
