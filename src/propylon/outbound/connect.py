"""Opening a connection to an endpoint; every failure is mapped to one of five codes.

Rules of the file:

- An address is connected to directly; a name is resolved and its addresses raced (Happy Eyeballs, RFC 8305).
- The timeout covers name resolution, TCP and TLS. It is the only timer made here.
- Foreign exceptions are mapped here: callers see `ConnectError` or their own cancellation. After any failure or
  cancellation no socket stays open.
- `connect` must run in a task (required by asyncio.timeout and the race).
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Final, TypeVar, cast

import aiohappyeyeballs

from propylon.address import EndpointAddress
from propylon.outbound.dns import ResolveError
from propylon.outbound.resolve import Resolver
from propylon.outbound.tls_handshake import EndpointHandshake, NotTlsError, TlsClient

ATTEMPT_DELAY_S: Final = 0.25
"""Seconds before the next address of a name is tried in parallel. RFC 8305, section 8, recommends 250 ms."""

HANDSHAKE_S: Final = 60.0
"""Seconds for a TLS handshake, where the timeout is longer or there is none."""

ProtocolT = TypeVar("ProtocolT", bound=asyncio.Protocol)

_CODES: Final = {
    errno.ECONNREFUSED: "connect.refused",
    errno.ENOENT: "connect.refused",  # no socket at the path
    errno.ETIMEDOUT: "connect.timeout",
}


class ConnectError(Exception):
    """A connection could not be made.

    Attributes:
        code: `connect.dns`, `connect.refused`, `connect.unreachable`, `connect.timeout` or `connect.tls`.
        detail: the cause, with addresses; for the operator's log, never for a client.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


async def connect(
    address: EndpointAddress,
    factory: Callable[[], ProtocolT],
    *,
    resolver: Resolver,
    tls: ssl.SSLContext | None,
    server_name: str | None,
    timeout: float | None,
) -> tuple[asyncio.Transport, ProtocolT]:
    """Open a connection and return its transport and protocol; with TLS, after the handshake.

    Parameters:
        factory: makes the protocol; called once the socket is connected.
        tls: the context for an `https` endpoint, which requires one; None for plain HTTP.
        server_name: the name for SNI and verification in TLS; by default the host of the address.
        timeout: seconds in total; None for the limits of the kernel and of TLS (60 s) only.

    Raises `ConnectError`.
    """
    if address.scheme == "https" and tls is None:
        raise ConnectError("connect.tls", f"{address}: there is no context to speak TLS with")
    try:
        async with asyncio.timeout(timeout):
            if address.unix_path is not None:
                return await _connect_unix(address, address.unix_path, factory, tls, server_name)
            if address.is_ip and tls is None:
                # The common case. asyncio and uvloop both set TCP_NODELAY on sockets that they connect.
                return await asyncio.get_running_loop().create_connection(factory, address.host, address.port)
            found = await resolver.resolve(address.host, address.port)
            sock = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=ATTEMPT_DELAY_S)
            return await _connect_socket(sock, address, factory, tls, server_name)
    except TimeoutError as error:
        # asyncio.timeout raises it without an errno, the kernel with ETIMEDOUT.
        limit = HANDSHAKE_S if timeout is None else timeout
        took = str(error) if error.errno is not None else f"no connection within {limit:g} s"
        raise ConnectError("connect.timeout", f"{address}: {took}") from None
    except ResolveError as error:
        raise ConnectError("connect.dns", str(error)) from None
    except ssl.SSLError as error:
        raise ConnectError("connect.tls", f"{address}: {_tls_reason(error)}") from None
    except (OSError, RuntimeError) as error:  # uvloop raises RuntimeError for some failures of sock_connect
        raise ConnectError(_code_of(error), f"{address}: {error}") from None


async def _connect_socket(
    sock: socket.socket,
    address: EndpointAddress,
    factory: Callable[[], ProtocolT],
    tls: ssl.SSLContext | None,
    server_name: str | None,
) -> tuple[asyncio.Transport, ProtocolT]:
    """Hand a connected socket over to the event loop, which closes it, also when the handshake fails."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        protocol = factory()
        name = server_name or address.host
        handshake = EndpointHandshake(TlsClient(tls, name), protocol) if tls is not None else None
    except BaseException:
        sock.close()
        raise
    loop = asyncio.get_running_loop()
    if handshake is None:
        return await loop.create_connection(lambda: protocol, sock=sock)
    raw, _ = await loop.create_connection(lambda: handshake, sock=sock)
    return await _secure(raw, handshake, address), protocol


async def _connect_unix(
    address: EndpointAddress, path: str, factory: Callable[[], ProtocolT], tls: ssl.SSLContext | None, name: str | None
) -> tuple[asyncio.Transport, ProtocolT]:
    loop = asyncio.get_running_loop()
    if tls is None:
        return await loop.create_unix_connection(factory, path)
    protocol = factory()
    handshake = EndpointHandshake(TlsClient(tls, name or "localhost"), protocol)
    raw, _ = await loop.create_unix_connection(lambda: handshake, path)
    return await _secure(raw, handshake, address), protocol


async def _secure(
    raw: asyncio.BaseTransport, handshake: EndpointHandshake, address: EndpointAddress
) -> asyncio.Transport:
    """Wait for the end of the handshake; a connection whose handshake fails is closed."""
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            return await handshake.done
    except NotTlsError as error:
        raise ConnectError("connect.tls", f"{address}: {error}") from None
    except ConnectionError as error:
        raise ConnectError("connect.tls", f"{address}: the connection was closed in the handshake: {error}") from None
    except (TimeoutError, asyncio.CancelledError):
        cast("asyncio.Transport", raw).abort()
        raise


def _code_of(error: OSError | RuntimeError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number is not None:
        return _CODES.get(number, "connect.unreachable")
    # Different failures for the addresses of one name are raised as one error without a number. If one of them
    # is a refusal, the host is reachable.
    return "connect.refused" if f"[Errno {errno.ECONNREFUSED}]" in str(error) else "connect.unreachable"


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    return f"TLS failed: {error.reason or error}"
