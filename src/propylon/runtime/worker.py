"""A worker: listeners, the connections they accept, one timer, and a way to stop that loses no exchange."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from propylon.engine.pipeline import settled
from propylon.engine.tunnel_settings import DRAINED, RESTARTED
from propylon.http.forwarded import TrustedProxies
from propylon.inbound.http1 import ClientConnection
from propylon.inbound.intake import Intake
from propylon.inbound.listener import ListenAddress, Listener, open_listener
from propylon.inbound.proxy_protocol import Place, ProxyPreface
from propylon.inbound.redirect_https import RedirectHttps
from propylon.inbound.tls import ListenerTls
from propylon.inbound.tls_handshake import HandshakeLine, TlsHandshake
from propylon.inbound.tls_reload import LOOK_SECONDS, CertificateFiles
from propylon.outbound.resolve import Resolver
from propylon.services.directory import Directory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from propylon.config.schema import ListenerConfig
    from propylon.engine.snapshot import DnsSettings, Snapshot

SWEEP_SECONDS = 0.1  # how late a deadline may be noticed
CERTIFICATE_TICKS = round(LOOK_SECONDS / SWEEP_SECONDS)
POOL_SWEEP_TICKS = 10  # kept connections to endpoints rest for many seconds: once a second will do

log = logging.getLogger("propylon.worker")


class Worker:
    """Serves one snapshot on some listeners.

    Attributes:
        directory: the services and their endpoints, with all that is known about them.
    """

    def __init__(self, snapshot: Snapshot, listeners: Sequence[ListenerConfig]) -> None:
        self._intake = Intake(snapshot)
        self.directory = Directory(_resolver(snapshot.dns), monotonic)
        self.directory.enter(snapshot.services)
        self._settings = listeners
        self._listeners: list[Listener] = []
        self._handshakes = HandshakeLine()
        self._certificates: list[CertificateFiles] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0

    @property
    def snapshot(self) -> Snapshot:
        """What new exchanges run on."""
        return self._intake.snapshot

    @property
    def addresses(self) -> list[str]:
        """Where it listens: the real ports."""
        return [str(listener.address) for listener in self._listeners]

    @property
    def connections(self) -> int:
        """Open client connections."""
        return len(self._intake.connections)

    async def start(self) -> None:
        """Open all listeners, or none.

        Raises:
            ListenError: an address that cannot be listened on.
            TlsError: a certificate that cannot be used.
        """
        await self.directory.providers.start()
        try:
            for settings in self._settings:
                address = ListenAddress(settings.address.host, settings.address.port, settings.address.path)
                factory = self._factory(settings)
                self._listeners.append(await open_listener(address, factory, backlog=settings.backlog))
        except BaseException:
            self._close_listeners()
            await self.directory.providers.close()
            raise
        self._tick()

    async def stop(self, restart: bool = False) -> None:
        """Stop: take no more connections, let exchanges under way end, then close everything.

        Event streams and WebSockets are ended during the first half of the snapshot's drain time; exchanges that take
        longer than all of it are cut off.

        Parameters:
            restart: WebSockets are told that the gateway comes back (1012), and not that it goes away (1001).
        """
        self._close_listeners()
        drain = self.snapshot.client_timeouts.drain
        self._intake.drain(monotonic(), drain / 2, RESTARTED if restart else DRAINED)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain if drain < inf else None):
                await self._intake.emptied()
                await settled()
        for connection in list(self._intake.connections):
            log.warning("cut off a connection that was busy for longer than the drain time: %r", connection)
            connection.abort()
        self.directory.close()
        await self.directory.providers.close()
        await self.directory.resolver.close()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.sleep(0)  # transports that were aborted tell their protocols in the next turn of the loop

    def _factory(self, settings: ListenerConfig) -> Callable[[], asyncio.Protocol]:
        """Say what a new connection begins with: PROXY protocol header, TLS handshake, request, in this order."""
        admission = None if settings.redirect_https is None else RedirectHttps(settings.redirect_https).admit

        def requests(peer: Place | None = None, local: Place | None = None) -> ClientConnection:
            if peer is None or local is None:
                return ClientConnection(self._intake, admission=admission)
            return ClientConnection(self._intake, peer[0].encode("ascii"), b"%d" % local[1], admission)

        accept: Callable[..., asyncio.Protocol] = requests
        if settings.tls is not None:
            tls = ListenerTls(settings.tls, str(settings.address))
            self._certificates.append(CertificateFiles(tls, str(settings.address)))
            accept = partial(self._shake_hands, tls, requests)
        if settings.proxy_protocol is None:
            return accept
        trusted = TrustedProxies([str(network) for network in settings.proxy_protocol.from_])
        return lambda: ProxyPreface(self._intake, trusted.contains, accept)

    def _shake_hands(
        self,
        tls: ListenerTls,
        requests: Callable[..., ClientConnection],
        peer: Place | None = None,
        local: Place | None = None,
    ) -> TlsHandshake:
        return TlsHandshake(self._intake, self._handshakes, tls, partial(requests, peer, local))

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def _tick(self) -> None:
        """Look at every deadline, ten times a second: the one timer of a worker."""
        self._timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._tick)
        now = monotonic()
        self.directory.sweep(now)
        self._intake.sweep(now)
        self._ticks += 1
        if self._ticks % CERTIFICATE_TICKS == 0:
            for files in self._certificates:
                files.refresh()
        if self._ticks % POOL_SWEEP_TICKS == 0:
            self.directory.sweep_pools(now)


def _resolver(dns: DnsSettings) -> Resolver:
    return Resolver(list(dns.servers) or None, dns.min_ttl, dns.max_ttl, monotonic)
