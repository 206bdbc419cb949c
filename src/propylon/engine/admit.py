"""Step 1: what the gateway answers before any route is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.engine.errors import GatewayError
from propylon.engine.message import Response

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange


def answer_options(x: Exchange) -> Response | None:
    """Answer the two kinds of OPTIONS that are for the gateway itself.

    `OPTIONS *` asks about the server as such (RFC 9110 9.3.7), and `Max-Forwards: 0` asks the hop where it arrives
    (RFC 9110 7.6.2); a greater number is counted down.

    Raises:
        GatewayError: read.bad_field for a Max-Forwards that is no number.
    """
    if x.path == b"*":
        return Response(204, headers={"allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"})
    hops = x.fields.first(b"max-forwards")
    if hops is None:
        return None
    if not hops.isdigit() or len(hops) > 9:
        raise GatewayError("read.bad_field", "Max-Forwards is not a number (RFC 9110 7.6.2)")
    if int(hops) == 0:
        return Response(204)
    x.request.headers.set("max-forwards", str(int(hops) - 1))
    return None
