"""Fields of a response that refer to a URL by which its client goes on: Location, Content-Location, Refresh, URI.

Rules of this file: a reference is found in its field without changing a byte of it; one that cannot be read is left as
it is. URI is not registered any more (RFC 2068 19.6.2.5), but still sent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

REFERENCES: Final = frozenset((b"location", b"content-location", b"refresh", b"uri"))
"""Lower-case names of the fields."""

_REFRESH: Final = re.compile(rb"""([0-9. \t]*[;,][ \t]*(?:[Uu][Rr][Ll][ \t]*=[ \t]*)?["']?)([^"']*)(.*)""", re.DOTALL)
_URI: Final = re.compile(rb"([ \t]*<?)([^<> \t]*)(.*)", re.DOTALL)
_WHOLE: Final = re.compile(rb"()(.*)()", re.DOTALL)
_FORMS: Final = {b"refresh": _REFRESH, b"uri": _URI}
_PARTS: Final = re.compile(rb"(?:([A-Za-z][A-Za-z0-9+.-]*):)?//([^/?#\\]*)((?:/[^?#]*)?)((?:[?#].*)?)", re.DOTALL)
_PATH: Final = re.compile(rb"(/(?![/\\])[^?#]*)(.*)", re.DOTALL)


class ReferenceParts(NamedTuple):
    """A reference with an authority, or a path that is absolute (RFC 3986 4.2).

    Attributes:
        scheme: in lower case; b"" if it has none.
        authority: as written; None if it has none.
        path: as written.
        tail: query and fragment, with '?' and '#'.
    """

    scheme: bytes
    authority: bytes | None
    path: bytes
    tail: bytes


def parts_of(reference: bytes) -> ReferenceParts | None:
    """Split a reference; None if it is relative to the path of the request, or of no host."""
    found = _PARTS.fullmatch(reference)
    if found is not None:
        return ReferenceParts((found[1] or b"").lower(), found[2], found[3], found[4])
    found = _PATH.fullmatch(reference)
    return None if found is None else ReferenceParts(b"", None, found[1], found[2])


def with_reference(name: bytes, value: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return the value of a field of `REFERENCES` with its reference changed."""
    found = _FORMS.get(name, _WHOLE).fullmatch(value)
    return value if found is None else b"%b%b%b" % (found[1], change(found[2]), found[3])
