"""Text in the notation of other programs, which would be taken literally here, with what to write instead.

Rules of this file: it names only what is surely meant otherwise, since a problem refuses the whole configuration.
"""

from __future__ import annotations

import re
from typing import Final

_VARIABLES: Final = {
    "args": "request.query", "host": "request.host", "http_host": "request.host", "query_string": "request.query",
    "proxy_add_x_forwarded_for": "client.address", "realip_remote_addr": "client.address",
    "remote_addr": "client.address", "document_uri": "request.path", "request_id": "request.id",
    "request_method": "request.method", "request_uri": "request.path", "scheme": "request.scheme",
    "server_name": "request.host", "uri": "request.path",
}  # fmt: skip
_VARIABLE: Final = re.compile(r"\$(?:([a-z][a-z0-9_]*)|\{([a-z][a-z0-9_]*)\})")
_PREFIXES: Final = ("arg_", "cookie_", "http_", "upstream_", "ssl_", "proxy_")
_GROUP: Final = re.compile(r"\$[0-9](?![0-9])")
_COLON: Final = re.compile(r"/:([A-Za-z_]\w*)(?=/|$)", re.ASCII)
_FORMATS: Final = re.compile(r"%\[[a-z][^\]]*\]|%\{[A-Za-z_][^}]*\}|%[A-Z_]+\([^)]*\)%|%DOWNSTREAM_[A-Z_]+%")


def foreign_text(text: str) -> str | None:
    """Return why a value is surely meant otherwise, with what to write instead; None if it is not."""
    for found in _VARIABLE.finditer(text):
        name = found[1] or found[2]
        if name in _VARIABLES:
            return f"{found[0]!r} is not replaced here: write {{{_VARIABLES[name]}}}"
        if name.startswith(_PREFIXES):
            return f"{found[0]!r} is not replaced here: only a policy in Python can insert it"
    if _GROUP.fullmatch(text):
        return f"{text!r} is not replaced here: write {{name}} for a parameter of the path"
    if (found_format := _FORMATS.search(text)) is not None:
        return f"{found_format[0]!r} is not replaced here: write {{client.address}}, {{request.host}} or another fact"
    return None


def foreign_pattern(path: str) -> str | None:
    """Return why the pattern of a path is surely meant otherwise, with what to write; None if it is not."""
    if path.startswith(("^", "~")):
        return f"begins with {path[0]!r}, as a regular expression does: write it as 'path_regex', or begin with '/'"
    if (colon := _COLON.search(path)) is not None:
        return f"has ':{colon[1]}', which is taken literally: write '{{{colon[1]}}}', or a path_regex to have the colon"
    return None


def foreign_path(path: str) -> str | None:
    """Return why the path of a rewrite or redirect is surely meant otherwise; None if it is not."""
    if (colon := _COLON.search(path)) is not None:
        return f"has ':{colon[1]}', which is taken literally: write '{{{colon[1]}}}'"
    if (group := _GROUP.search(path)) is not None:
        return f"has {group[0]!r}, which is taken literally: write '{{name}}', or '\\{group[0][1:]}' behind a regex"
    return None
