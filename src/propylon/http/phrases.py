"""Reason phrases of statuses (RFC 9110 15, and the IANA registry), used where a status line needs one."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

# Those that RFC 9110 has renamed; which of them `HTTPStatus` knows depends on the version of Python.
_RENAMED: Final = {
    413: b"Content Too Large",
    414: b"URI Too Long",
    416: b"Range Not Satisfiable",
    422: b"Unprocessable Content",
}

PHRASES: Final[dict[int, bytes]] = {status.value: status.phrase.encode("ascii") for status in HTTPStatus} | _RENAMED
"""The registered phrase of each status."""
