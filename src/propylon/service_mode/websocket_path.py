"""The target of a WebSocket: `GET /ws/NAME?path=/chat%3Froom%3D1` is `GET /chat?room=1` at the service.

Rules of the file: the value is decoded once, and must be a path of the same service, or the response is 400. It begins
with exactly one '/', so it is never an authority (`//host/`) or a URL (`ws://host/`), and is canonical like every path.
"""

import re
from typing import Final

from propylon.engine.exchange import Exchange
from propylon.engine.response import Response
from propylon.http.query import get_all
from propylon.http.target import PathRules, canonical_path
from propylon.service_mode.answers import error_response

# A client chooses this path, so it may not have all that a policy may set.
_RULES: Final = PathRules(encoded_slashes=True, semicolons=True)
_TO_ESCAPE: Final = re.compile(rb"[ \x80-\xff]")


class WebSocketPath:
    """Sets the path and the query for the service from the parameter `path`."""

    def on_request(self, x: Exchange) -> Response | None:
        """Replace path and query; the rest of the client's query is dropped."""
        values = get_all(x.query, b"path")
        if len(values) > 1:
            return _refused("'path' stands twice")
        # A decoded value may have spaces and UTF-8, which are percent-encoded in a path (RFC 3987 3.1).
        value = _TO_ESCAPE.sub(lambda byte: b"%%%02X" % ord(byte[0]), values[0] if values else b"")
        path, mark, query = (value or b"/").decode("ascii").partition("?")
        if not path.startswith("/") or path.startswith("//"):
            return _refused("'path' begins with one '/'; it is the path of a WebSocket at its service, not a URL")
        try:
            x.set_path(canonical_path(path.encode("ascii"), _RULES).decode("ascii"))
            x.set_query(query if mark else None)
        except ValueError as error:
            return _refused(str(error))
        return None


def _refused(message: str) -> Response:
    return error_response(400, "invalid_path", message)
