"""The interface of the core for client sides: a listener's connection, or any other entrance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from propylon.engine.errors import GatewayError
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Client
    from propylon.engine.snapshot import Snapshot
    from propylon.http.request_head import RequestFields, RequestLine


class Intake(Protocol):
    """Entry point of requests, implemented by `runtime/core.py`.

    Attributes:
        snapshot: the current snapshot, for new exchanges.
        draining: whether the gateway drains: no further request on a connection after the current response.
    """

    snapshot: Snapshot
    draining: bool

    def begin(self, client: Client, line: RequestLine, fields: RequestFields) -> Exchange:
        """Make the exchange of a request whose head has been read.

        Raises:
            Refusal: request line and header section are inconsistent.
        """

    def refused(self, client: Client, error: GatewayError) -> Exchange:
        """Make the exchange of an invalid request: it is answered like any other."""
