"""The exception that parsers raise for a violation of HTTP."""

from __future__ import annotations


class Refusal(Exception):
    """A message is invalid.

    Attributes:
        code: a code of the table in `failures.py`, as `read.bad_field`.
        detail: which rule was broken, and where. It contains only data that the peer sent, so it may be shown to it.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
