"""The listeners of a worker: opened together, reconfigured while open, closed individually.

Rules of the file:

- The socket of an unchanged address stays open, so no connection is refused: only the settings for new connections
  change.
- What can fail comes before any change: certificates are read by `stage`, addresses bound by `open`. `commit` cannot
  fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from propylon.address import listener_ids
from propylon.http.trusted_proxies import TrustedProxies
from propylon.inbound.http1 import ClientConnection
from propylon.inbound.listener import Listener, ListenError, open_listener
from propylon.inbound.proxy_protocol import ProxyPreface
from propylon.inbound.redirect_https import RedirectHttps
from propylon.inbound.socket_access import UNIX_MODE, SocketAccess
from propylon.inbound.tls import ListenerTls
from propylon.inbound.tls_handshake import HandshakeLine, TlsHandshake
from propylon.tls_files import CertificateFiles

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from propylon.address import SocketAddress
    from propylon.config.schema import ListenerConfig
    from propylon.inbound.connections import Connections
    from propylon.transport.probes import Probes


class Entrance:
    """One listener and the protocol of the connections that it accepts.

    Attributes:
        id: what routes and a reload know it by; it does not change.
        listener: the open listener; `None` before it is open.
        settings: its configuration.
        tls: its TLS state, if it uses TLS.
        certificates: the certificate files of `tls`, which are polled for changes.
    """

    def __init__(
        self, id_: str, connections: Connections, line: HandshakeLine, settings: ListenerConfig, tls: ListenerTls | None
    ) -> None:
        self.id = id_
        self._connections = connections
        self._line = line
        self.listener: Listener | None = None
        self.take(settings, tls)

    def __call__(self) -> asyncio.Protocol:
        """Create the protocol of a new connection."""
        return self._accept()

    def take(self, settings: ListenerConfig, tls: ListenerTls | None) -> None:
        """Apply settings to new connections."""
        self.settings, self.tls = settings, tls
        self.certificates = None if tls is None else CertificateFiles(tls, str(settings.address))
        redirect = settings.redirect_https
        self._admission = None if redirect is None else RedirectHttps(redirect.port, redirect.except_).admit
        self._accept = self._way(settings, tls)

    def _way(self, settings: ListenerConfig, tls: ListenerTls | None) -> Callable[[], asyncio.Protocol]:
        """Return the factory of protocols: PROXY protocol header, TLS handshake, requests, in this order."""
        accept: Callable[..., asyncio.Protocol] = self._requests if tls is None else partial(self._shake_hands, tls)
        if settings.proxy_protocol is None:
            return accept
        trusted = TrustedProxies([str(network) for network in settings.proxy_protocol.from_])

        def preface() -> ProxyPreface:
            made = ProxyPreface(self._connections, trusted.contains, accept)
            made.listener = self
            return made

        return preface

    def _requests(self, peer: SocketAddress | None = None, local: SocketAddress | None = None) -> ClientConnection:
        if peer is None or local is None:
            made = ClientConnection(self._connections, admission=self._admission)
        else:
            forwarded = peer[0].encode("ascii"), b"%d" % local[1]
            made = ClientConnection(self._connections, forwarded, self._admission)
        made.listener = self
        return made

    def _shake_hands(
        self, tls: ListenerTls, peer: SocketAddress | None = None, local: SocketAddress | None = None
    ) -> TlsHandshake:
        made = TlsHandshake(self._connections, self._line, tls, partial(self._requests, peer, local))
        made.listener = self
        return made


@dataclass(frozen=True, slots=True)
class ListenerChange:
    """The change of one listener.

    Attributes:
        entrance: the existing entrance, or a new one.
        settings, tls: its new settings.
        take_up: replaces the certificates of a listener that keeps using TLS.
    """

    entrance: Entrance
    settings: ListenerConfig
    tls: ListenerTls | None
    take_up: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes of all listeners; listeners that are not in `steps` are closed."""

    steps: tuple[ListenerChange, ...]


class Listeners:
    """The open listeners of a worker."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._line = HandshakeLine()
        self._entrances: list[Entrance] = []

    @property
    def addresses(self) -> list[str]:
        """The bound addresses with their actual ports."""
        return [str(each.listener.address) for each in self._entrances if each.listener is not None]

    def stage(self, settings: Sequence[ListenerConfig]) -> Plan:
        """Prepare new settings, including their certificates; may run in another thread.

        Raises:
            TlsError: a certificate cannot be used.
        """
        there = {each.id: each for each in self._entrances}
        pairs = zip(listener_ids(each.address for each in settings), settings, strict=True)
        return Plan(tuple(self._step(id_, there.get(id_), each) for id_, each in pairs))

    def _step(self, id_: str, entrance: Entrance | None, settings: ListenerConfig) -> ListenerChange:
        running = None if entrance is None else entrance.tls
        take_up = None
        if settings.tls is None:
            tls = None
        elif running is not None:
            tls, take_up = running, running.prepare(settings.tls)
        else:
            tls = ListenerTls(settings.tls, str(settings.address))
        entrance = entrance or Entrance(id_, self._connections, self._line, settings, tls)
        return ListenerChange(entrance, settings, tls, take_up)

    async def open(self, plan: Plan, probes: Probes) -> None:
        """Bind every new address, or none, and change who may connect to Unix sockets that are kept.

        Args:
            probes: for connections that they accept.

        Raises:
            ListenError: an address cannot be bound, or a file's mode or owner not be set.
        """
        new = [step.entrance for step in plan.steps if step.entrance.listener is None]
        try:
            for entrance in new:
                settings = entrance.settings
                entrance.listener = await open_listener(
                    settings.address, entrance, backlog=settings.backlog, access=_access(settings), probes=probes
                )
            for step in plan.steps:  # last, as they are not taken back
                if _access(step.settings) != _access(step.entrance.settings) and step.entrance.listener is not None:
                    step.entrance.listener.set_access(_access(step.settings))
        except ListenError as error:
            _close(new)
            raise self._explained(error, new) from None
        except BaseException:
            _close(new)
            raise

    def _explained(self, error: ListenError, new: Sequence[Entrance]) -> ListenError:
        """Return a more specific error if this gateway itself has bound the address."""
        ports = {each.settings.address.port for each in new} - {0}
        for each in self._entrances:
            if each.listener is not None and each.listener.address.port in ports and "in use" in str(error):
                address = str(error).partition(": ")[0]
                return ListenError(
                    f"{address}: this gateway still listens at {each.listener.address}, which is gone only afterwards: "
                    "restart to change one into the other"
                )
        return error

    def abandon(self, plan: Plan) -> None:
        """Close the listeners opened for an abandoned plan, and drain their connections."""
        new = [step.entrance for step in plan.steps if step.entrance not in self._entrances]
        _close(new)
        self._drain(new)

    def commit(self, plan: Plan, probes: Probes) -> None:
        """Apply a plan whose addresses are open to new connections, and close removed listeners."""
        for step in plan.steps:
            if step.take_up is not None:
                step.take_up()
            if step.entrance in self._entrances:
                step.entrance.take(step.settings, step.tls)
                if step.entrance.listener is not None:
                    step.entrance.listener.set_probes(probes)
        kept = [step.entrance for step in plan.steps]
        gone = [each for each in self._entrances if each not in kept]
        self._entrances = kept
        _close(gone)
        self._drain(gone)

    def _drain(self, entrances: Sequence[Entrance]) -> None:
        for connection in [each for each in self._connections.open if each.listener in entrances]:
            connection.drain(None)

    def close(self) -> None:
        """Close all listeners; their connections stay open."""
        entrances, self._entrances = self._entrances, []
        _close(entrances)

    def refresh_certificates(self) -> None:
        """Load certificates that have been replaced on disk."""
        for entrance in self._entrances:
            if entrance.certificates is not None:
                entrance.certificates.refresh()


def _access(settings: ListenerConfig) -> SocketAccess:
    mode = UNIX_MODE if settings.mode is None else settings.mode
    return SocketAccess(mode, settings.owner, settings.group)


def _close(entrances: Sequence[Entrance]) -> None:
    for entrance in entrances:
        listener, entrance.listener = entrance.listener, None
        if listener is not None:
            listener.close()
