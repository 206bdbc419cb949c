"""Cuts an endless stream of bytes into JSON objects. No I/O.

The objects follow one another, with or without line ends between them, cut anywhere by the network: etcd and Kubernetes
write one a line, Docker promises only that they follow each other. One object has a greatest size.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

MAX_OBJECT_BYTES: Final = 4 * 1024 * 1024
"""Bytes of one object; etcd and the Kubernetes API take no request above 1.5 MiB, and JSON adds some to that."""
# The next brace outside of strings, or the beginning of a string whose end has not come yet. One match for each brace,
# and no byte is looked at more than twice: the quantifiers are possessive.
_OUTSIDE: Final = re.compile(rb'(?:[^"{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+(["{}])', re.DOTALL)
# Inside of a string, its end or what a backslash escapes.
_INSIDE: Final = re.compile(rb'[^"\\]*+("|\\.?)', re.DOTALL)
_BLANK: Final = b" \t\r\n"


class StreamError(ValueError):
    """Bytes that are no JSON objects, or an object that is too large."""


class Splitter:
    """Cuts a stream of bytes into JSON objects.

    Attributes:
        limit: bytes of one object at the most.
    """

    def __init__(self, limit: int = MAX_OBJECT_BYTES) -> None:
        self.limit = limit
        self._held = bytearray()
        self._scanned = 0
        self._depth = 0
        self._in_string = False

    @property
    def empty(self) -> bool:
        """Whether nothing of a further object has come yet."""
        return not self._held.strip(_BLANK)

    def feed(self, data: bytes) -> list[Any]:
        """Return the objects that are whole with these bytes. Raises `StreamError`."""
        self._held += data
        found = []
        while (end := self._end_of_object()) is not None:
            found.append(_parse(bytes(self._held[:end])))
            del self._held[:end]
            self._scanned = 0
        if len(self._held) > self.limit:
            raise StreamError(f"an object of more than {self.limit} bytes")
        return found

    def _end_of_object(self) -> int | None:
        """Go on where the last call ended, and return the place behind the first whole object."""
        if self._depth == 0:
            self._check_beginning()
        while mark := (_INSIDE if self._in_string else _OUTSIDE).match(self._held, self._scanned):
            token = mark[1]
            if token == b"\\":  # what it escapes has not come yet
                self._scanned = mark.start(1)
                return None
            self._scanned = mark.end()
            if token == b'"':
                self._in_string = not self._in_string
            elif token == b"{":
                self._depth += 1
            elif token == b"}":
                self._depth -= 1
                if self._depth == 0:
                    return self._scanned
        self._scanned = len(self._held)
        return None

    def _check_beginning(self) -> None:
        start = self._held.lstrip(_BLANK)
        if start and not start.startswith(b"{"):
            raise StreamError(f"{bytes(start[:20])!r} where a JSON object begins")
        self._held[:] = start


def _parse(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise StreamError(f"what is no JSON: {error}") from None
