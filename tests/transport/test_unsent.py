"""What a peer has not taken yet is counted in the transport and in the kernel."""

from __future__ import annotations

import socket
from typing import Any, cast

from propylon.transport.unsent import unsent_bytes


class Transport:
    """A transport that holds `waiting` bytes before `sock`."""

    def __init__(self, waiting: int, sock: socket.socket | None) -> None:
        self._waiting, self._socket = waiting, sock

    def get_write_buffer_size(self) -> int:
        return self._waiting

    def get_extra_info(self, name: str) -> Any:
        return self._socket if name == "socket" else None


def unsent(waiting: int, sock: socket.socket | None) -> int:
    return unsent_bytes(cast("Any", Transport(waiting, sock)))


def test_without_a_socket_only_the_transport_counts() -> None:
    assert unsent_bytes(None) == 0
    assert unsent(7, None) == 7


def test_what_a_slow_reader_takes_shows_though_the_transport_has_not_moved() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as writer:
        reader, _ = server.accept()
        with reader:
            writer.setblocking(False)
            try:
                while True:
                    writer.send(b"x" * 65536)
            except BlockingIOError:
                pass
            before = unsent(5, writer)
            assert before > 5
            taken = 0
            while taken < 8_000_000 and unsent(5, writer) == before:
                taken += len(reader.recv(65536))
            assert unsent(5, writer) < before
            assert taken < 4_000_000


def test_a_socket_that_is_closed_tells_nothing() -> None:
    one, other = socket.socketpair()
    one.close()
    other.close()
    assert unsent(3, one) == 3
