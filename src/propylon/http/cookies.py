"""Cookies of a request, and the syntax of Set-Cookie (RFC 6265 4.1, 4.2, 5.4).

Rules of this file: names are compared byte for byte; of several cookies with one name the first is used, the one
with the longest path (RFC 6265 5.4, step 2). Values are returned unchanged, quotes included.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

COOKIE_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token (RFC 9110 5.6.2)."""

COOKIE_PATH: Final = re.compile(r"/[\x21-\x3a\x3c-\x7e]*")
"""An absolute path without ';', control characters and spaces (RFC 6265 4.1.1, `path-value`)."""


def cookie(fields: Iterable[bytes], name: bytes) -> bytes | None:
    """Return the value of the first cookie `name` in the values of Cookie fields; `None` if there is none."""
    for field in fields:
        if name not in field:
            continue
        for pair in field.split(b";"):
            key, equals, value = pair.partition(b"=")
            if equals and key.strip(b" \t") == name:
                return value.strip(b" \t")
    return None
