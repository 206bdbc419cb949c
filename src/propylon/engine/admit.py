"""Step 1: requests that the gateway answers before routing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.engine.errors import GatewayError
from propylon.engine.response import Response

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange


def answer_options(x: Exchange) -> Response | None:
    """Return the response to an OPTIONS request for the gateway itself; `None` for any other.

    `OPTIONS *` is for the server in general (RFC 9110 9.3.7), `Max-Forwards: 0` for the hop where it arrives (RFC 9110
    7.6.2); a greater number is decremented.

    Raises:
        GatewayError: read.bad_field for a Max-Forwards that is not a number.
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
