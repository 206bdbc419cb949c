"""What the engine needs of services: how an endpoint is chosen, and how an upstream to it is had.

`services/` and `outbound/` implement these Protocols, and the engine names neither of them. An `Upstream` (`sides.py`)
may be a connection of its own or one stream of a connection that many exchanges share: the engine takes one or leases
one, and gives it back by its `finish()`. What a service has handed out comes back to the same service, so parameters
of its own kinds are `Any` here; it declares them as what they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from propylon.engine.errors import GatewayError
    from propylon.engine.exchange import Exchange
    from propylon.engine.retry import RetrySettings
    from propylon.engine.sides import Upstream


class Lease(Protocol):
    """A claim to an upstream: granted (`upstream`), refused (`error`), or still open.

    The exchange is notified when it is decided. Whoever takes the upstream gives it back by `finish()`; a claim whose
    upstream was not taken is withdrawn.
    """

    @property
    def upstream(self) -> Upstream | None:
        """What was granted."""

    @property
    def error(self) -> GatewayError | None:
        """Why nothing is granted: connect.*, choose.queue_full, gateway.failed."""

    def withdraw(self) -> None:
        """Give the claim up; what it was granted goes to another one."""


class Pool(Protocol):
    """The ways to one endpoint."""

    @property
    def full(self) -> bool:
        """Whether an exchange that asks now has to wait for others to finish."""

    def take(self) -> Upstream | None:
        """Return an upstream that is ready now; `None` if there is none."""

    def lease(self, x: Exchange) -> Lease:
        """Claim an upstream that has to be opened, or waited for."""


class Load(Protocol):
    """How busy an address is.

    Attributes:
        inflight: attempts under way there; the engine counts them.
    """

    inflight: int


class Endpoint(Protocol):
    """One address of a service."""

    @property
    def url(self) -> str:
        """As configured or found; for logs, never for clients."""

    @property
    def authority(self) -> bytes:
        """What the Host field says by default."""

    @property
    def base_path(self) -> bytes:
        """What stands in front of every path."""

    @property
    def host(self) -> bytes | None:
        """The rule for Host: `None` for `authority`, `PRESERVE` for the client's own, or a fixed value."""

    @property
    def pool(self) -> Pool:
        """The ways to it."""

    @property
    def vitals(self) -> Load:
        """How busy it is."""


class Budget(Protocol):
    """What a service may spend on retries and hedges. `now` is of `time.monotonic`."""

    def deposit(self, now: float) -> None:
        """Count a first try."""

    def withdraw(self, now: float) -> bool:
        """Pay for one more try; `False` if the budget is spent."""


class Gate(Protocol):
    """The way into a service that takes so many exchanges at a time."""

    async def enter(self, x: Exchange) -> None:
        """Take a place, until the exchange leaves; wait for one if there is none.

        Raises:
            GatewayError: choose.queue_full, choose.queue_timeout.
        """

    def leave(self, x: Exchange, error: GatewayError | None = None) -> None:
        """Give the place back; `error` is why another service takes over."""


class HedgeDelay(Protocol):
    """When a second endpoint is asked."""

    def value(self) -> float | None:
        """Return after how many seconds without an answer; `None` for not at all."""


class Service(Protocol):
    """A named group of endpoints: it chooses one, and is told how each attempt went."""

    @property
    def name(self) -> str:
        """As configured; for logs."""

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """All of them, whether they may be chosen now or not."""

    @property
    def only(self) -> Endpoint | None:
        """The one endpoint there is to choose, where nothing else has a say: `choose` need not be called."""

    @property
    def retry(self) -> RetrySettings:
        """When its requests are tried again, unless the route says otherwise."""

    @property
    def budget(self) -> Budget:
        """What retries and hedges may cost."""

    @property
    def concurrency(self) -> Gate | None:
        """The limit of exchanges at a time, if there is one."""

    @property
    def hedge_delay(self) -> HedgeDelay | None:
        """When a second endpoint is asked, if ever."""

    @property
    def breaks(self) -> bool:
        """Whether `begin` has to be told of attempts."""

    @property
    def fields(self) -> Callable[[Exchange, Any], bytes] | None:
        """What adds lines to the header section of an endpoint's answer, each with its CRLF, if anything does."""

    @property
    def current(self) -> Service | None:
        """What has its name in the configuration of now; `None` if nothing has."""

    def random(self) -> float:
        """Return a float of [0, 1), by which waits between tries are drawn."""

    def endpoint(self, url: str) -> Endpoint:
        """Find an endpoint by the URL it was configured with. Raises `ValueError` if there is none."""

    def choose(self, x: Exchange, avoid: Collection[Any], /) -> Endpoint:
        """Choose an endpoint: one of `avoid` only if there is no other.

        Raises:
            GatewayError: choose.*.
        """

    def has_other(self, avoid: Collection[Any]) -> bool:
        """Tell whether there is an endpoint beside those of `avoid` that may be asked now."""

    def begin(self, attempt: Any, now: float) -> None:
        """An attempt begins: it may be the probe of a circuit (`Attempt.probe`, `Attempt.service_probe`)."""

    def answered(self, attempt: Any, status: int, now: float) -> None:
        """The head of an answer has come."""

    def outrun(self, attempt: Any, now: float) -> None:
        """An attempt that was sent is given up unanswered, as another endpoint has answered the same request."""

    def failed(self, attempt: Any, now: float) -> None:
        """The endpoint has failed: no answer came, or only half of one."""

    def inconclusive(self, attempt: Any, now: float) -> None:
        """A probe has ended without an outcome."""
