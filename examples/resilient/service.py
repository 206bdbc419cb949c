"""A small shop that tells who answered. It is healthy as far as it knows, and yet some of its answers may be 503.

NAME=two PORT=3002 FAIL=0.7 python service.py
"""

import json
import os
import random
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAME = os.environ.get("NAME", "one")
FAIL = float(os.environ.get("FAIL", "0"))  # the share of requests that fail


class Shop(BaseHTTPRequestHandler):
    """Answers every GET with JSON; /healthz is always well."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together

    def handle(self) -> None:
        """Serve a connection until it is closed, in whatever way."""
        try:
            super().handle()
        except ConnectionError:
            pass

    def do_GET(self) -> None:
        """Tell the name and the path."""
        well = self.path == "/healthz" or random.random() >= FAIL
        body = json.dumps({"from": NAME, "path": self.path} if well else {"error": "out of order"}).encode()
        self.send_response(200 if well else 503)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3001"))), Shop) as server:
        server.daemon_threads = True
        print(f"serving on http://127.0.0.1:{server.server_address[1]}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
