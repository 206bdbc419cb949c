"""One client with TLS that keeps its connection and sends requests on schedule.

Arguments: the port, the path, requests a second, seconds, the certificate to trust. A latency counts from when the
request was due, so that waiting to send it is not forgotten. Prints {"p50", "p99"} in milliseconds.
"""

from __future__ import annotations

import gc
import json
import socket
import ssl
import sys
import time

END = b"Hello World!"
STALLED_SECONDS = 10


def connect(port: int, certificate: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=certificate)
    plain = socket.create_connection(("127.0.0.1", port), STALLED_SECONDS)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def ask(connection: ssl.SSLSocket, request: bytes) -> None:
    connection.sendall(request)
    answer = b""
    while END not in answer:
        data = connection.recv(65536)
        if not data:
            raise SystemExit(f"the connection was closed: {answer[:60]!r}")
        answer += data
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(repr(answer[:60]))


def latencies(connection: ssl.SSLSocket, request: bytes, rate: int, seconds: int) -> list[float]:
    found = []
    start = time.perf_counter()
    for number in range(rate * seconds):
        due = start + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        ask(connection, request)
        found.append(1e3 * (time.perf_counter() - due))
    return sorted(found)


def main() -> None:
    port, path, rate, seconds, certificate = sys.argv[1:]
    request = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode()
    connection = connect(int(port), certificate)
    ask(connection, request)
    gc.disable()
    found = latencies(connection, request, int(rate), int(seconds))
    print(json.dumps({"p50": found[len(found) // 2], "p99": found[len(found) * 99 // 100]}))


main()
