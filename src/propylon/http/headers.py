"""A message's header section for policies: case-insensitive, ordered, repeated names kept (RFC 9110 5).

Copy on write: `raw` is a tuple from the parser that many messages may share; the first change copies it into a list.
So `type(raw) is list` means that it was changed, and an unchanged section is never rendered again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

Pair = tuple[bytes, bytes]

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")


class Headers:
    """Header fields by name. Names and values are `str` (latin-1) in the interface, `bytes` in `raw`."""

    __slots__ = ("raw",)

    def __init__(self, raw: Iterable[Pair] | Mapping[str, str] = ()) -> None:
        """Use pairs of bytes unchecked, or a mapping of text, which is checked.

        Raises:
            ValueError: a name that is not a token, a control character in a value (RFC 9110 5.1, 5.5), or text
                outside latin-1.
        """
        self.raw: tuple[Pair, ...] | list[Pair]
        if isinstance(raw, Mapping):
            self.raw = [_pair(name, value) for name, value in raw.items()]
        else:
            self.raw = raw if isinstance(raw, tuple) else list(raw)

    @property
    def changed(self) -> bool:
        """Whether anything was set, added or removed since the section was parsed."""
        return type(self.raw) is list

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of `name`, or `default`."""
        key = name.lower().encode("latin-1", "replace")
        for field, value in self.raw:
            if field.lower() == key:
                return value.decode("latin-1")
        return default

    def get_all(self, name: str) -> list[str]:
        """Return every value of `name`, in the order of the message."""
        key = name.lower().encode("latin-1", "replace")
        return [value.decode("latin-1") for field, value in self.raw if field.lower() == key]

    def set(self, name: str, value: str) -> None:
        """Set `value` as the only value of `name`.

        Raises:
            ValueError: a name that is not a token, or a control character in the value.
        """
        pair = _pair(name, value)
        key = pair[0].lower()
        self.raw = [kept for kept in self.raw if kept[0].lower() != key]
        self.raw.append(pair)

    def add(self, name: str, value: str) -> None:
        """Append a value of `name`, as for `Set-Cookie`. Raises `ValueError` as `set` does."""
        pair = _pair(name, value)
        if type(self.raw) is not list:
            self.raw = list(self.raw)
        self.raw.append(pair)

    def remove(self, name: str) -> None:
        """Remove every value of `name`, if there is any."""
        key = name.lower().encode("latin-1", "replace")
        if any(field.lower() == key for field, _ in self.raw):
            self.raw = [kept for kept in self.raw if kept[0].lower() != key]

    def remove_all(self, names: frozenset[bytes]) -> None:
        """Remove every value of some names, in lower case."""
        if any(field.lower() in names for field, _ in self.raw):
            self.raw = [kept for kept in self.raw if kept[0].lower() not in names]

    def items(self) -> Iterator[tuple[str, str]]:
        """Return all fields, repeated names included."""
        return ((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.raw)

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str) -> None:
        self.set(name, value)

    def __delitem__(self, name: str) -> None:
        self.remove(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name, _ in self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def __repr__(self) -> str:
        return f"<Headers {list(self.items())}>"


def _pair(name: str, value: str) -> Pair:
    """Encode one field, and refuse what would allow header injection."""
    field, content = name.encode("latin-1"), value.strip(" \t").encode("latin-1")
    if not TOKEN.fullmatch(field):
        raise ValueError(f"{name!r} is not a header name (RFC 9110 5.1)")
    if not _VALUE.fullmatch(content):
        raise ValueError(f"the value of header {name!r} has a control character (RFC 9110 5.5)")
    return field, content


def headers_of(block: bytes) -> Headers:
    """Return the fields of a header section that is already checked: lines, each with its CRLF."""
    pairs = (line.partition(b":") for line in block.split(b"\r\n") if line)
    return Headers(tuple((name, value.strip(b" \t")) for name, _, value in pairs))
