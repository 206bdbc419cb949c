"""The services of the demo: real HTTP servers of the standard library, each on a free port, in threads of this process.

Rules of the file: they are simple on purpose, as stand-ins for any service; nothing of the gateway is used.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PEOPLE = [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Grace"}, {"id": 3, "name": "Guido"}]
PIECES = 5
PIECE_SECONDS = 0.3
SLOW_SECONDS = 3.0


class Server(ThreadingMixIn, TCPServer):
    """A server with a daemon thread for each connection, so that none delays the end of the demo."""

    daemon_threads = True
    request_queue_size = 128

    @property
    def url(self) -> str:
        """The base URL of the server."""
        return "http://{}:{}".format(*self.server_address)


class Service(BaseHTTPRequestHandler):
    """The base of the services: HTTP/1.1, JSON responses, no log."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60.0

    def answer(self, status: int, content: Any) -> None:
        """Send a JSON response."""
        body = json.dumps(content, indent=2).encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def content(self) -> str:
        """Read the request's body."""
        return self.rfile.read(int(self.headers.get("content-length", 0))).decode("utf-8", "replace")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Log nothing: the gateway's policy prints the exchanges."""


class Users(Service):
    """A JSON API: /people and /people/{id}."""

    def do_GET(self) -> None:
        """Send all people, or one."""
        path = self.path.partition("?")[0]
        if path == "/people":
            self.answer(200, PEOPLE)
            return
        found = [person for person in PEOPLE if path == f"/people/{person['id']}"]
        self.answer(200, found[0]) if found else self.answer(404, {"error": "no such person"})

    def do_POST(self) -> None:
        """Respond with 201, without storing anything."""
        self.answer(201, {"created": self.content()})


class Shop(Service):
    """Echoes requests, and streams."""

    def do_GET(self) -> None:
        """Echo the request, or stream for /stream."""
        if self.path == "/stream":
            self._stream()
            return
        sent = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": self.content()}
        self.answer(200, sent)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _stream(self) -> None:
        """Send a chunked body of unknown length."""
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number in range(1, PIECES + 1):
            piece = f"piece {number} of {PIECES}\n".encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            time.sleep(PIECE_SECONDS)
        self.wfile.write(b"0\r\n\r\n")


class Slow(Service):
    """Responds late, or not at all."""

    def do_GET(self) -> None:
        """Respond after `SLOW_SECONDS`; /broken closes the connection."""
        if self.path == "/broken":
            self.close_connection = True
            return
        time.sleep(SLOW_SECONDS)
        try:
            self.answer(200, {"answer": "at last"})
        except ConnectionError:
            pass  # the gateway has timed out, as configured


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """Run every service; yields the URL of each."""
    with ExitStack() as stack:
        urls = {}
        for name, handler in (("users", Users), ("shop", Shop), ("slow", Slow)):
            server = stack.enter_context(Server(("127.0.0.1", 0), handler))
            Thread(target=server.serve_forever, args=(0.05,), name=f"demo {name}", daemon=True).start()
            stack.callback(server.shutdown)
            urls[name] = server.url
        yield urls
