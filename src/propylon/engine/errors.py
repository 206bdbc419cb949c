"""The exception for a failed exchange: a row of the table in `failures.py`, with details."""

from __future__ import annotations

from propylon.failures import FAILURES, Failure


class GatewayError(Exception):
    """A failure that the gateway answers itself, as opposed to an error response of a service.

    Attributes:
        code: a key of `FAILURES`.
        detail: for the client, besides the title; made only of what the client sent.
        log: for the log only: addresses, exception texts.
        headers: fields of the response, as `Allow`.
        request_line: the beginning of a request that could not be read; for the log only.
    """

    request_line = b""

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
        """The status of the response."""
        return FAILURES[self.code].status

    def __str__(self) -> str:
        return ": ".join(part for part in (self.code, self.detail, self.log) if part)
