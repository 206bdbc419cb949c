"""Bytes of a peer, as the log shows them."""

from __future__ import annotations

from propylon.http.shown import SHOWN_BYTES, shown


def test_bytes_are_shown_in_printable_ascii_and_bounded() -> None:
    assert shown(b"SSH-2.0\r\n\xff'") == '"SSH-2.0\\r\\n\\xff\'"'
    assert shown(b"") == "''"
    assert shown(b"x" * SHOWN_BYTES) == f"'{'x' * SHOWN_BYTES}'"
    assert shown(b"x" * (SHOWN_BYTES + 1)) == f"'{'x' * SHOWN_BYTES}'…"
    assert shown(bytes(range(256))).isprintable()
