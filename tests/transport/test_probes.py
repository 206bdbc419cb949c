"""The options that let the kernel find out that a peer has vanished."""

from __future__ import annotations

import socket
import sys
from math import inf

import pytest

from propylon.transport.probes import Probes

linux = pytest.mark.skipif(sys.platform != "linux", reason="the names of the options are those of Linux")


def options(sock: socket.socket) -> tuple[int, ...]:
    tcp = socket.IPPROTO_TCP
    return (
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        sock.getsockopt(tcp, socket.TCP_KEEPIDLE),
        sock.getsockopt(tcp, socket.TCP_KEEPINTVL),
        sock.getsockopt(tcp, socket.TCP_KEEPCNT),
        sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT),
    )


@linux
@pytest.mark.parametrize(
    ("probes", "expected"),
    [
        (Probes(), (1, 30, 10, 3, 0)),
        (Probes(90.0, 45.5), (1, 90, 30, 3, 45_500)),
        (Probes(0.2, 0.25), (1, 1, 1, 3, 250)),
        (Probes(1e9, 1e9), (1, 32767, 10922, 3, 2**31 - 1)),
    ],
)
def test_the_options_are_set_in_the_units_of_the_kernel(probes: Probes, expected: tuple[int, ...]) -> None:
    with socket.socket() as sock:
        probes.apply(sock)
        assert options(sock) == expected


@linux
def test_a_connection_inherits_those_of_its_listener_and_none_turns_them_off_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        Probes(40.0, 9.0).apply(server)
        with socket.create_connection(server.getsockname()):
            accepted, _ = server.accept()
            with accepted:
                assert options(accepted) == (1, 40, 13, 3, 9000)
        Probes(inf, inf).apply(server)
        with socket.create_connection(server.getsockname()):
            accepted, _ = server.accept()
            with accepted:
                assert options(accepted)[0] == 0
                assert options(accepted)[-1] == 0


def test_a_unix_socket_and_a_closed_one_are_left_alone() -> None:
    here, there = socket.socketpair()
    with here, there:
        Probes().apply(here)
    sock = socket.socket()
    sock.close()
    Probes().apply(sock)
    Probes().apply(None)


def test_a_platform_without_the_options_keeps_plain_keepalive(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_IDLE", "_INTERVAL", "_COUNT", "_USER_TIMEOUT"):
        monkeypatch.setattr(f"propylon.transport.probes.{name}", None)
    with socket.socket() as sock:
        Probes(40.0, 9.0).apply(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
