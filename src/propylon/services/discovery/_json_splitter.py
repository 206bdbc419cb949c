"""Splits an endless stream of bytes into JSON objects. No I/O.

The objects are concatenated, with or without line ends, and split anywhere by the network: etcd and Kubernetes send one
a line, Docker guarantees no separator. The size of an object is bounded.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

MAX_OBJECT_BYTES: Final = 4 * 1024 * 1024
"""Maximum bytes of one object; etcd and the Kubernetes API limit requests to 1.5 MiB, and JSON adds overhead."""
# The next brace outside of strings, or the beginning of an incomplete string. One match for each brace, and no byte is
# read more than twice: the quantifiers are possessive.
_OUTSIDE: Final = re.compile(rb'(?:[^"{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+(["{}])', re.DOTALL)
# Inside a string: its end, or an escape sequence.
_INSIDE: Final = re.compile(rb'[^"\\]*+("|\\.?)', re.DOTALL)
_BLANK: Final = b" \t\r\n"


class StreamError(ValueError):
    """Bytes that are no JSON objects, or an object that is too large."""


class Splitter:
    """Splits a stream of bytes into JSON objects.

    Attributes:
        limit: maximum bytes of one object.
    """

    def __init__(self, limit: int = MAX_OBJECT_BYTES) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._scanned = 0
        self._depth = 0
        self._in_string = False

    @property
    def empty(self) -> bool:
        """Whether no incomplete object is buffered."""
        return not self._buffer.strip(_BLANK)

    def feed(self, data: bytes) -> list[Any]:
        """Return the objects completed by `data`. Raises `StreamError`."""
        self._buffer += data
        found = []
        while (end := self._end_of_object()) is not None:
            found.append(_parse(bytes(self._buffer[:end])))
            del self._buffer[:end]
            self._scanned = 0
        if len(self._buffer) > self.limit:
            raise StreamError(f"an object of more than {self.limit} bytes")
        return found

    def _end_of_object(self) -> int | None:
        """Continue scanning, and return the end of the first complete object."""
        if self._depth == 0:
            self._check_beginning()
        while mark := (_INSIDE if self._in_string else _OUTSIDE).match(self._buffer, self._scanned):
            token = mark[1]
            if token == b"\\":  # the escaped character is still missing
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
        self._scanned = len(self._buffer)
        return None

    def _check_beginning(self) -> None:
        start = self._buffer.lstrip(_BLANK)
        if start and not start.startswith(b"{"):
            raise StreamError(f"{bytes(start[:20])!r} where a JSON object begins")
        self._buffer[:] = start


def _parse(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise StreamError(f"what is no JSON: {error}") from None
