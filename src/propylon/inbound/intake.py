"""What a client side needs of the gateway behind it: a listener's connection, or any other entrance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from propylon.engine.errors import GatewayError
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Client
    from propylon.engine.snapshot import Snapshot
    from propylon.http.request_head import RequestFields, RequestLine


class Intake(Protocol):
    """Where requests go in; `runtime/core.py` has it.

    Attributes:
        snapshot: what new exchanges run on.
        draining: the gateway stops: no further requests on connections whose request has been answered.
    """

    snapshot: Snapshot
    draining: bool

    def begin(self, client: Client, line: RequestLine, fields: RequestFields) -> Exchange:
        """Make the exchange of a request whose head has been read.

        Raises:
            Refusal: what neither the request line nor the header section can tell alone to be wrong.
        """

    def refused(self, client: Client, error: GatewayError) -> Exchange:
        """Make the exchange of a request that could not be read: it is answered like any other."""
