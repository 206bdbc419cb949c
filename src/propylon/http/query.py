"""Reading and editing of query strings; parameters that are not edited keep every byte (RFC 3986 3.4).

Rules of this file:

- A query is `name=value` pieces joined by '&'. Names are compared decoded (`%XX`, and '+' as a space, as HTML forms
  encode it), so `%61=1` is the parameter `a`. A piece without '=' has the value b"".
- Unedited pieces keep their bytes and order, empty pieces included (`a&&b`).
- None means no '?', b"" means a '?' with nothing after it. Removing the last piece leaves None.
- Names and values passed to this module, and results of `get`, are decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def items(query: bytes | None) -> list[tuple[bytes, bytes]]:
    """Return every parameter in order, decoded."""
    pairs: list[tuple[bytes, bytes]] = []
    for piece in _pieces(query):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((_decode(name), _decode(value)))
    return pairs


def get(query: bytes | None, name: bytes) -> bytes | None:
    """Return the decoded value of the first parameter `name`; None if there is none."""
    for piece in _pieces(query):
        if piece and _name(piece) == name:
            return _decode(piece.partition(b"=")[2])
    return None


def get_all(query: bytes | None, name: bytes) -> list[bytes]:
    """Return the decoded values of every parameter `name`."""
    return [value for found, value in items(query) if found == name]


def piece(name: bytes, value: bytes) -> bytes:
    """Return the piece `name=value` of a name, and a value that is percent-encoded already."""
    return b"%b=%b" % (quote_from_bytes(name, safe="").encode("ascii"), value)


def only(query: bytes | None, keep: Collection[bytes]) -> bytes | None:
    """Return the query with the parameters of these names only; empty pieces go too."""
    pieces = _pieces(query)
    kept = [piece for piece in pieces if piece and _name(piece) in keep]
    if len(kept) == len(pieces):
        return query
    return b"&".join(kept) if kept else None


def edit(
    query: bytes | None, replace: Mapping[bytes, bytes], append: Collection[bytes], drop: Collection[bytes]
) -> bytes | None:
    """Apply several edits in one pass: drop, then replace, then append.

    Parameters:
        query: the query as received.
        replace: name -> encoded piece that replaces the parameter.
        append: encoded pieces to add at the end.
        drop: names to remove.
    """
    kept: list[bytes] = []
    done: set[bytes] = set()
    pieces = _pieces(query)
    for piece in pieces:
        name = _name(piece)
        if piece and name in replace:
            if name not in done:
                kept.append(replace[name])
                done.add(name)
        elif not piece or name not in drop:
            kept.append(piece)
    kept += [piece for name, piece in replace.items() if name not in done]
    kept += append
    if kept == pieces:
        return query
    return b"&".join(kept) if kept else None


def _pieces(query: bytes | None) -> list[bytes]:
    return query.split(b"&") if query else []


def _name(piece: bytes) -> bytes:
    return _decode(piece.partition(b"=")[0])


def _decode(text: bytes) -> bytes:
    if b"+" in text:
        text = text.replace(b"+", b" ")
    return unquote_to_bytes(text) if b"%" in text else text
