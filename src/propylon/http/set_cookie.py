"""Edits of Set-Cookie fields (RFC 6265 4.1): path, domain and the attributes that restrict a cookie.

Rules of this file: attributes that are not edited keep every byte; names of attributes are compared without case.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOST_PREFIX = b"__host-"  # browsers refuse such a cookie with a Domain, or a Path other than / (RFC 6265bis 4.1.3.2)


@dataclass(frozen=True, slots=True)
class CookieEdit:
    """An edit of cookies.

    Attributes:
        paths: beginnings of paths, without the final '/', with what replaces them.
        domains: domains in lower case, without a leading dot, with what replaces them; None removes the attribute.
        any_domain: the replacement of every other domain; b"" keeps it, None removes it.
        flags: attributes in lower case as `secure`: True to add, False to remove.
        same_site: the value of SameSite; b"" keeps it.
    """

    paths: Mapping[bytes, bytes] = field(default_factory=dict)
    domains: Mapping[bytes, bytes | None] = field(default_factory=dict)
    any_domain: bytes | None = b""
    flags: Mapping[bytes, bool] = field(default_factory=dict)
    same_site: bytes = b""

    def apply(self, value: bytes) -> bytes:
        """Return the value of a Set-Cookie field after the edit."""
        pair, *attributes = value.split(b";")
        fixed = pair.strip(b" \t").lower().startswith(_HOST_PREFIX)
        kept = [pair]
        for attribute in attributes:
            name, _, content = (part.strip(b" \t") for part in attribute.partition(b"="))
            key = name.lower()
            edited: bytes | None = attribute
            if key == b"path" and not fixed:
                edited = self._path(attribute, content)
            elif key == b"domain" and not fixed:
                edited = self._domain(attribute, content)
            elif key in self.flags or (key == b"samesite" and self.same_site):
                edited = None
            if edited is not None:
                kept.append(edited)
        kept += [b" " + _SPELLING[flag] for flag, on in self.flags.items() if on]
        if self.same_site:
            kept.append(b" SameSite=" + self.same_site)
        return b";".join(kept)

    def _path(self, attribute: bytes, path: bytes) -> bytes:
        best: bytes | None = None
        for begin in self.paths:
            if (path == begin or path.startswith(begin + b"/")) and (best is None or len(begin) > len(best)):
                best = begin
        if best is None:
            return attribute
        instead = self.paths[best]
        # A cookie of the whole site becomes one of `/app`, and not only of what is below `/app/`.
        return b" Path=" + ((instead if path == b"/" else instead + path[len(best) :]) or b"/")

    def _domain(self, attribute: bytes, domain: bytes) -> bytes | None:
        instead = self.domains.get(domain.lower().removeprefix(b"."), self.any_domain)
        if instead == b"":
            return attribute
        return None if instead is None else b" Domain=" + instead


_SPELLING = {b"secure": b"Secure", b"httponly": b"HttpOnly", b"partitioned": b"Partitioned"}


def cookie_name(value: bytes) -> bytes:
    """Return the name of the cookie in the value of a Set-Cookie field."""
    return value.partition(b";")[0].partition(b"=")[0].strip(b" \t")
