"""What a parser raises when a peer broke a rule of HTTP."""

from __future__ import annotations


class Refusal(Exception):
    """A message that is not accepted.

    Attributes:
        code: a code of the table in `failures.py`, as `read.bad_field`.
        detail: which rule was broken, and where. It holds nothing but what the peer itself sent, so it may be
            shown to that peer.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
