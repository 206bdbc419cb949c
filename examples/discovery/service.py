"""A service that registers itself when it starts and goes out of the registry when it is stopped.

PORT=3003 python service.py
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / os.environ.get("REGISTRY", "registered")


class Service(BaseHTTPRequestHandler):
    """Answers every GET with the port it was asked at."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together

    def do_GET(self) -> None:
        """Tell the port and the path."""
        body = json.dumps({"port": self.connection.getsockname()[1], "path": self.path}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def stop(*args: Any) -> None:
    """End the process by way of what is still to be done."""
    sys.exit()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3001"))), Service) as server:
        server.daemon_threads = True
        url = f"http://127.0.0.1:{server.server_address[1]}"
        FOLDER.mkdir(exist_ok=True)
        entry = FOLDER / f"{os.getpid()}.url"
        entry.write_text(url, "utf-8")
        print(f"serving on {url}", flush=True)
        try:
            server.serve_forever()
        finally:
            entry.unlink()
