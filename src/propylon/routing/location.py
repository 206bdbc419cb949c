"""The parts of a URL that a client is redirected to, as templates.

Rules of this file: whatever a client sends, the URL stays on the host that the configuration names. The host ends in
fixed text or in the request's own host; a path is canonical and begins with exactly one '/'.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from propylon.http.host import HostError, parse_host
from propylon.http.target import KEEP_ALL, KEEP_SLASHES, canonical_path
from propylon.routing.rewrite import path_template
from propylon.routing.template import Template, TemplateError
from propylon.routing.template_places import IN_HOST, IN_URL_QUERY

if TYPE_CHECKING:
    from propylon.routing.facts import Facts

_URL: Final = re.compile(r"(https?)://(.*?)((?:[/?#]|\{request\.path\}).*)?", re.DOTALL)
_REFERENCE: Final = re.compile(r"([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_PORT: Final = re.compile(r":[0-9]+$")


def split_url(url: str) -> tuple[str, str, str]:
    """Split a URL with http or https into scheme, host, and all that follows."""
    found = _URL.fullmatch(url)
    if found is None:
        raise TemplateError(f"{url!r} does not begin with http:// or https://")
    return found[1], found[2], found[3] or ""


class HostTemplate:
    """A host with an optional port. Raises `TemplateError`."""

    __slots__ = ("template",)

    def __init__(self, text: str) -> None:
        name = _PORT.sub("", text)
        fixed = name.rpartition("}")[2]
        if "{" in name and not name.endswith("{request.host}") and not re.match(r"[\w~-]*\.[\w~-]", fixed):
            raise TemplateError(
                f"the host {text!r} could be any host: let it end in fixed text, as in '{{name}}.example.com'"
            )
        self.template = Template(text, IN_HOST)

    @property
    def templates(self) -> tuple[Template, ...]:
        """The template."""
        return (self.template,)

    @property
    def fixed(self) -> bytes | None:
        """The host in canonical form, if it is the same for every request."""
        text = self.template.fixed
        try:
            return None if text is None else parse_host(text).text
        except HostError:  # with a user, say
            return text

    def fill(self, request: Facts) -> str:
        """Return the host. Raises `TargetError` if a value is no part of a host."""
        return self.template.fill(request).decode("ascii")


class Reference:
    """A path with an optional query and fragment. Raises `RewriteError`, `TemplateError`."""

    __slots__ = ("_fixed", "_fragment", "_path", "_query")

    def __init__(self, text: str) -> None:
        found = _REFERENCE.fullmatch(text)
        assert found is not None
        path = found[1]
        compiled = path_template(f"path {path!r}", path) if path else None  # a URL may have none
        self._path = compiled if compiled is not None and compiled.names else None
        self._fixed = path.encode("ascii")
        if compiled is not None and self._path is None and "{" in path:
            self._fixed = canonical_path(compiled.fixed or b"", KEEP_ALL)
        self._query = None if found[2] is None else Template(found[2][1:], IN_URL_QUERY)
        self._fragment = None if found[3] is None else Template(found[3][1:], IN_URL_QUERY)

    @property
    def templates(self) -> tuple[Template, ...]:
        """All templates in it."""
        return tuple(each for each in (self._path, self._query, self._fragment) if each is not None)

    @property
    def fixed(self) -> bytes | None:
        """The canonical path, if it is the same for every request and has no query."""
        if self._path is not None or self._query is not None:
            return None
        return canonical_path(self._fixed or b"/", KEEP_SLASHES)

    def fill(self, request: Facts, query: bytes | None) -> str:
        """Return the reference; `query` is that of the request, for a reference without a query of its own.

        Raises:
            TargetError: pieces of the request form an invalid path.
        """
        path = self._fixed
        if self._path is not None:
            rules = KEEP_SLASHES if b"//" in request.path else KEEP_ALL  # it has them only where its route keeps them
            path = canonical_path(self._path.fill(request), rules)
        if self._query is not None:
            query = self._query.fill(request)
        made = path if query is None else b"%b?%b" % (path, query)
        if self._fragment is not None:
            made = b"%b#%b" % (made, self._fragment.fill(request))
        return made.decode("latin-1")
