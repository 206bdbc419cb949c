"""A service that refuses uploads unread and closes, in threads of its own, as gunicorn's sync workers do."""

from __future__ import annotations

import socket
import ssl
import threading
from types import TracebackType
from typing import Self


class RefusingService:
    """Reads the head of each request, sends `response`, and closes with the body unread: the kernel sends RST."""

    def __init__(self, response: bytes, tls: ssl.SSLContext | None = None) -> None:
        self._response = response
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            # As servers do: otherwise Nagle's algorithm could keep the answer back until the close destroys it.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                head = b""
                while b"\r\n\r\n" not in head and (data := connection.recv(4096)):
                    head += data
                connection.sendall(self._response)
            except OSError:
                pass
            finally:
                connection.close()


def upload(port: int, size: int, *, chunked: bool, method: str = "POST", host: str = "127.0.0.1") -> bytes:
    """Send an upload in one thread, and return all that comes back to another: what a client of any kind could see."""
    with socket.create_connection((host, port), timeout=30) as connection:
        sender = threading.Thread(target=_send, args=(connection, size, chunked, method))
        sender.start()
        received = b""
        while data := connection.recv(65536):
            received += data
        sender.join()
    return received


def _send(connection: socket.socket, size: int, chunked: bool, method: str) -> None:
    framing = "transfer-encoding: chunked" if chunked else f"content-length: {size}"
    piece, left = b"x" * 65536, size
    try:
        connection.sendall(f"{method} /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{framing}\r\n\r\n".encode())
        while left > 0:
            data = piece[:left]
            connection.sendall(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            left -= len(data)
        if chunked:
            connection.sendall(b"0\r\n\r\n")
    except OSError:  # the gateway has closed, after it has waited
        pass
