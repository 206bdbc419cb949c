"""The failure of an exchange, as it is raised: a row of the table `failures.py`, and what is known of this case."""

from __future__ import annotations

from propylon.failures import FAILURES, Failure


class GatewayError(Exception):
    """A failure of the gateway itself, as opposed to an answer of a service.

    Attributes:
        code: a key of `FAILURES`.
        detail: what a client may read besides the title; made of what it sent itself.
        log: what only the log gets: addresses, exception texts.
        headers: fields of the answer, as `Allow`.
    """

    def __init__(self, code: str, detail: str = "", *, log: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.log = log
        self.headers = headers or {}

    @property
    def failure(self) -> Failure:
        """The row of the table."""
        return FAILURES[self.code]

    @property
    def status(self) -> int:
        """The status a client gets."""
        return FAILURES[self.code].status

    def __str__(self) -> str:
        return ": ".join(part for part in (self.code, self.detail, self.log) if part)
