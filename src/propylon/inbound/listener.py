"""Listeners: addresses where clients connect, over TCP (both IP families) and Unix sockets.

Rules of the file:

- Binding and accepting are two steps, so that one process can bind and others accept.
- A listener never takes over an address in use: a Unix socket is replaced only if connections to it are refused.
- Every failure is one sentence with the address, the cause, and a fix where there is one.
"""

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from propylon.address import ListenAddress
from propylon.inbound.socket_access import DEFAULT_ACCESS, SocketAccess
from propylon.transport.probes import Probes

PORT_TRIES: Final = 8
"""Attempts to find one port that is free in both families, for port 0."""

_NO_IPV6: Final = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}  # not in the kernel, or disabled

_SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


class ListenError(Exception):
    """A listener cannot be opened; the message is a sentence that starts with its address."""


class Listener:
    """An open listener. `address` has the actual port in place of port 0."""

    __slots__ = ("_inode", "_servers", "_sockets", "address")

    def __init__(
        self, address: ListenAddress, servers: list[asyncio.Server], sockets: list[socket.socket], inode: int | None
    ) -> None:
        self.address = address
        self._servers = servers
        self._sockets = sockets
        self._inode = inode

    def __repr__(self) -> str:
        return f"<Listener {self.address} {'open' if self._servers else 'closed'}>"

    def set_probes(self, probes: Probes) -> None:
        """Set when a client that is silent counts as vanished, for connections accepted from now on."""
        for sock in self._sockets:
            probes.apply(sock)

    def set_access(self, access: SocketAccess) -> None:
        """Change who may connect to a Unix socket; does nothing for TCP. Raises `ListenError`."""
        if self.address.unix_path is not None:
            _set_access(self.address, self.address.unix_path, access)

    def close(self) -> None:
        """Stop accepting; open connections stay open. Idempotent."""
        self._sockets = []
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        if self._inode is not None and servers:
            assert self.address.unix_path is not None
            _unlink_if_ours(self.address.unix_path, self._inode)


async def open_listener(
    address: ListenAddress,
    factory: Callable[[], asyncio.BaseProtocol],
    *,
    backlog: int,
    probes: Probes | None = None,
    access: SocketAccess = DEFAULT_ACCESS,
) -> Listener:
    """Bind and accept connections; `factory` makes the protocol of each connection.

    Parameters:
        backlog: connections that the kernel queues before they are accepted (capped at net.core.somaxconn).
        probes: when a client that is silent counts as vanished; by default the system's settings.
        access: of the file, if it is a Unix socket.

    Raises `ListenError`.
    """
    sockets = bind(address, access)
    if probes is not None:  # before the first connection: it inherits them
        for sock in sockets:
            probes.apply(sock)
    return await accept(address, sockets, factory, backlog=backlog)


async def accept(
    address: ListenAddress,
    sockets: list[socket.socket],
    factory: Callable[[], asyncio.BaseProtocol],
    *,
    backlog: int,
) -> Listener:
    """Accept connections on sockets from `bind`. Raises `ListenError`, and closes all of them if one fails."""
    loop = asyncio.get_running_loop()
    servers: list[asyncio.Server] = []
    inode: int | None = None
    real = address
    if address.unix_path is None:
        real = replace(address, port=sockets[0].getsockname()[1])
    else:
        inode = os.stat(address.unix_path).st_ino
    try:
        for sock in sockets:
            # Two sockets may be bound to one port; then listen() fails. uvloop leaks its handle in that case.
            sock.listen(backlog)
        for sock in sockets:
            if address.unix_path is None:
                server = await loop.create_server(factory, sock=sock, backlog=backlog)
            else:
                server = await loop.create_unix_server(factory, sock=sock, backlog=backlog)
            servers.append(server)
    except OSError as error:
        for server in servers:
            server.close()
        for sock in sockets:
            sock.close()
        raise _failure(address, error) from None
    return Listener(real, servers, sockets, inode)


def bind(address: ListenAddress, access: SocketAccess = DEFAULT_ACCESS) -> list[socket.socket]:
    """Return bound sockets that do not listen yet: one, or one for each IP family. Raises `ListenError`."""
    if address.unix_path is not None:
        return [_bind_unix(address, address.unix_path, access)]
    try:
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        reason = (error.strerror or str(error)).lower()
        raise ListenError(f"{address}: {address.host!r} is no address of this machine: {reason}") from None
    # IPv4 first, without duplicates: /etc/hosts may list an address twice.
    targets = sorted({(family, sockaddr) for family, _, _, _, sockaddr in found})
    tries = PORT_TRIES if address.port == 0 else 1
    while True:
        tries -= 1
        try:
            return _bind_tcp(targets)
        except OSError as error:
            if tries == 0 or error.errno != errno.EADDRINUSE:
                raise _failure(address, error) from None


def _bind_tcp(targets: Sequence[tuple[socket.AddressFamily, _SocketAddress]]) -> list[socket.socket]:
    """Bind one socket for each target, all to the port of the first."""
    sockets: list[socket.socket] = []
    port = 0
    try:
        for family, sockaddr in targets:
            try:
                sockets.append(_bind_one(family, (sockaddr[0], port or sockaddr[1], *sockaddr[2:])))
            except OSError as error:
                if error.errno not in _NO_IPV6 or not sockets:
                    raise
                continue
            port = sockets[0].getsockname()[1]
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind_one(family: socket.AddressFamily, sockaddr: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # One socket for each family: client addresses are 192.0.2.1 and never ::ffff:192.0.2.1.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(sockaddr)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(address: ListenAddress, path: str, access: SocketAccess) -> socket.socket:
    _remove_stale(address, path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except OSError as error:
        sock.close()
        raise _failure(address, error) from None
    try:
        # Connections are refused before listen(), so the wider mode is never effective.
        _set_access(address, path, access)
    except ListenError:
        sock.close()
        os.unlink(path)
        raise
    return sock


def _set_access(address: ListenAddress, path: str, access: SocketAccess) -> None:
    try:
        access.apply(path)
    except LookupError as error:
        raise ListenError(f"{address}: {error.args[0]}") from None
    except OSError as error:
        if error.errno == errno.EPERM and (access.owner is not None or access.group is not None):
            raise ListenError(
                f"{address}: not permitted to set owner and group: run as root, or name a group of this user"
            ) from None
        raise _failure(address, error) from None


def _remove_stale(address: ListenAddress, path: str) -> None:
    """Remove a stale socket at `path`, left by a killed process."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _failure(address, error) from None
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"{address}: a file that is no socket is in the way: remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog gives EAGAIN: the socket is in use
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            pass
        except FileNotFoundError:
            return
        except BlockingIOError:
            raise _failure(address, OSError(errno.EADDRINUSE, "")) from None
        except OSError as error:
            raise _failure(address, error) from None
        else:
            raise _failure(address, OSError(errno.EADDRINUSE, ""))
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _failure(address, error) from None


def _unlink_if_ours(path: str, inode: int) -> None:
    """Remove the socket file, unless another process has replaced it."""
    try:
        if os.stat(path).st_ino == inode:
            os.unlink(path)
    except OSError:
        pass


def _failure(address: ListenAddress, error: OSError) -> ListenError:
    if error.errno == errno.EADDRINUSE:
        return ListenError(f"{address}: address already in use: another process listens there")
    if error.errno == errno.EACCES and address.unix_path is None and 0 < address.port < 1024:
        return ListenError(f"{address}: permission denied: ports below 1024 need root or CAP_NET_BIND_SERVICE")
    if error.errno == errno.EADDRNOTAVAIL:
        return ListenError(f"{address}: {address.host!r} is no address of this machine")
    if error.errno == errno.ENOENT:
        return ListenError(f"{address}: the directory of the socket does not exist: create it first")
    return ListenError(f"{address}: {(error.strerror or str(error)).lower()}")
