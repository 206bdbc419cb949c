"""The places that templates are written for, and how values are encoded there.

Rules of this file: whatever a client sends, a value stays within its field, path, parameter, label or string. A value
that cannot be encoded for its place is refused (`TargetError`), never sent. What is captured from the path is decoded
where the place has an encoding of its own, as a program would want it; paths and header fields get it as received.
"""

from __future__ import annotations

import json
import re
from html import escape
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from propylon.http.target import TargetError
from propylon.routing.facts import CAPTURED, TEXT
from propylon.routing.pattern import escape_non_ascii
from propylon.routing.template import Place

_HIDDEN: Final = re.compile(rb"[^\x20-\x7e]")
_LABELS: Final = re.compile(rb"[A-Za-z0-9_~-]+(?:\.[A-Za-z0-9_~-]+)*|\[[0-9a-f:.]+\]")


def _quoted(value: bytes) -> bytes:
    return quote_from_bytes(value, safe="").encode("ascii")


def _decoded(value: bytes, kind: str) -> str:
    return (unquote_to_bytes(value) if kind is CAPTURED else value).decode("utf-8", "replace")


def _in_path(value: bytes, kind: str) -> bytes:
    return _quoted(value) if kind is TEXT else value


def _in_query(value: bytes, kind: str) -> bytes:
    return _quoted(unquote_to_bytes(value) if kind is CAPTURED else value)


def _in_field(value: bytes, kind: str) -> bytes:
    return _HIDDEN.sub(lambda found: b"%%%02X" % found[0][0], value)


def _in_host(value: bytes, kind: str) -> bytes:
    if not _LABELS.fullmatch(value):
        raise TargetError("a part of the path is no part of a host name")
    return value.lower()


def _in_html(value: bytes, kind: str) -> bytes:
    return escape(_decoded(value, kind)).encode("utf-8")


def _in_json(value: bytes, kind: str) -> bytes:
    return json.dumps(_decoded(value, kind), ensure_ascii=False)[1:-1].encode("utf-8")


def _in_text(value: bytes, kind: str) -> bytes:
    return _decoded(value, kind).encode("utf-8")


IN_PATH: Final = Place(escape_non_ascii, _in_path)
"""A path, to be made canonical when it is filled."""
IN_QUERY: Final = Place(lambda text: _quoted(text.encode("utf-8")), _in_query)
"""The value of a query parameter."""
IN_URL_QUERY: Final = Place(lambda text: text.encode("ascii"), _in_query)
"""A whole query whose text is encoded already."""
IN_FIELD: Final = Place(lambda text: text.encode("latin-1"), _in_field)
"""The value of a header field."""
IN_HOST: Final = Place(lambda text: text.encode("ascii"), _in_host)
"""A host with an optional port."""
IN_HTML: Final = Place(str.encode, _in_html, lenient=True)
IN_JSON: Final = Place(str.encode, _in_json, lenient=True)
IN_TEXT: Final = Place(str.encode, _in_text, lenient=True)
"""Content of a response, by its type."""


def content_place(content_type: str) -> Place | None:
    """Return the place for content of a type; None for a type in which values cannot be encoded."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("application/json", "text/json") or kind.endswith("+json"):
        return IN_JSON
    if kind in ("text/html", "text/xml", "application/xml") or kind.endswith("+xml"):
        return IN_HTML
    return IN_TEXT if kind == "text/plain" else None
