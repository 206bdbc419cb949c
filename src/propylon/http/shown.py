"""Bytes of a peer as printable text, for the log and never for the other side."""

from __future__ import annotations

from typing import Final

SHOWN_BYTES: Final = 48


def shown(data: bytes) -> str:
    """Return the first bytes in printable ASCII, as a Python literal without its prefix."""
    return repr(data[:SHOWN_BYTES])[1:] + ("…" if len(data) > SHOWN_BYTES else "")
