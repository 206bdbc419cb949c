"""What all clients share, beside what they share in the soak run: a way in over TLS, and the ledger of endings."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from bench.chaos.endings import Endings
from bench.chaos.wire import connect, trusting
from bench.soak.load import Load

if TYPE_CHECKING:
    from bench.chaos.settings import Settings
    from bench.soak.ledger import Ledger
    from bench.soak.wire import Connection

TLS_SHARE = 0.35


class ChaosLoad(Load):
    """The load as one client sees it.

    Attributes:
        settings: how long the gateway waits for what.
        endings: where both sides of a stream are judged.
        tls_port: where the gateway speaks TLS.
    """

    def __init__(self, port: int, tls_port: int, ledger: Ledger, settings: Settings) -> None:
        super().__init__(port, ledger, settings)
        self.tls_port = tls_port
        self.settings = settings
        self.endings = Endings(ledger)
        self._trusting = trusting()
        self._tokens = count()

    def token(self, kind: str) -> str:
        """Make a token that no other stream has."""
        return f"{kind}{next(self._tokens)}"

    async def connect(self, receive_buffer: int | None = None, plain: bool = False) -> Connection:
        """Connect to the gateway, a part of all connections over TLS unless it has to be a plain one."""
        if plain or self.choose.random() > TLS_SHARE:
            return await connect(self.port, None, receive_buffer)
        return await connect(self.tls_port, self._trusting, receive_buffer)
