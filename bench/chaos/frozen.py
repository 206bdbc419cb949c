"""A client that others stop: `python -m bench.chaos.frozen PORT KIND TOKEN`. It says "ready" once its stream flows, and
"ended" when it is over."""

from __future__ import annotations

import socket
import sys

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = f"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n"
KINDS = {
    "socket": ("/sockets/steady/{}", UPGRADE, b"\x81\x82\x00\x00\x00\x00hi"),
    "flooded": ("/sockets/steady/{}", UPGRADE, b"\x81\x95\x00\x00\x00\x00do flood 100000 60000"),
    "events": ("/events/steady/{}?count=1000000&every=0&size=20000", "", b""),
}
SECONDS = 20.0


def main(port: int, kind: str, token: str) -> None:
    """Open a stream, and read it to its end."""
    path, fields, first = KINDS[kind]
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.sendall(f"GET {path.format(token)} HTTP/1.1\r\nhost: chaos.test\r\n{fields}\r\n".encode())
        connection.recv(65536)
        if first:
            connection.sendall(first)
            connection.recv(65536)
        print("ready", flush=True)
        try:
            while connection.recv(65536):
                pass
        except ConnectionError:
            pass
    print("ended", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
