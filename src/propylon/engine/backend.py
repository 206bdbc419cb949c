"""The Protocols of services, endpoints and pools: choosing an endpoint, and leasing an upstream to it.

`services/` and `outbound/` implement them; the engine imports neither. An `Upstream` (`sides.py`) is a connection, or
one stream of a shared connection: the engine takes or leases one, and returns it by `finish()`. A service gets only its
own endpoints and attempts as arguments, so they are `Any` here; the implementation declares their types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from propylon.engine.errors import GatewayError
    from propylon.engine.exchange import Exchange
    from propylon.engine.retry import RetrySettings
    from propylon.engine.sides import Upstream
    from propylon.http.response_head import ResponseHead


class Lease(Protocol):
    """A request for an upstream: granted (`upstream`), refused (`error`), or undecided.

    The exchange is notified of the decision. An upstream that was taken is returned by `finish()`; a lease that was not
    used is withdrawn.
    """

    @property
    def upstream(self) -> Upstream | None:
        """The upstream, once granted."""

    @property
    def error(self) -> GatewayError | None:
        """The reason of a refusal: connect.*, choose.queue_full, gateway.failed."""

    def withdraw(self) -> None:
        """Cancel the lease; an upstream it was granted goes to the next one."""


class Pool(Protocol):
    """The connections to one endpoint."""

    @property
    def full(self) -> bool:
        """Whether a new lease would have to wait for other exchanges to finish."""

    def take(self, x: Exchange, now: float) -> Upstream | None:
        """Return an idle upstream; `None` if there is none that may carry the request of `x`."""

    def lease(self, x: Exchange) -> Lease:
        """Lease an upstream that has to be opened or waited for."""


class Affinity(Protocol):
    """How clients are kept on their endpoints."""

    def responded(self, x: Exchange, endpoint: Any, head: ResponseHead, is_probe: bool) -> None:
        """Take notice of a response that is passed on, and add fields to it (`x.extra_fields`).

        Args:
            is_probe: whether the endpoint was not chosen for this client, but to probe it.
        """


class Load(Protocol):
    """The load of an address.

    Attributes:
        inflight: attempts in flight; counted by the engine.
    """

    inflight: int


class Endpoint(Protocol):
    """One address of a service.

    Attributes:
        silent_until: until when it is taken for one that does not respond to `Expect` (`time.monotonic`).
    """

    silent_until: float

    @property
    def url(self) -> str:
        """As configured or discovered; for logs, never for clients."""

    @property
    def authority(self) -> bytes:
        """The default value of the Host field."""

    @property
    def base_path(self) -> bytes:
        """The prefix of every path."""

    @property
    def root(self) -> bytes:
        """The path of a request of whose path nothing is left, as when all of it is stripped."""

    @property
    def host(self) -> bytes | None:
        """The rule for the Host field: `None` for `authority`, `PRESERVE` for the client's, or a fixed value."""

    @property
    def pool(self) -> Pool:
        """The connections to it."""

    @property
    def vitals(self) -> Load:
        """Its load."""


class Budget(Protocol):
    """The budget of a service for retries and hedges. `now` is in seconds of `time.monotonic`."""

    def deposit(self, now: float) -> None:
        """Count a first attempt."""

    def withdraw(self, now: float) -> bool:
        """Count one more attempt; return `False` if the budget is exhausted."""


class Gate(Protocol):
    """The concurrency limit of a service."""

    async def enter(self, x: Exchange) -> None:
        """Enter, until the exchange leaves; wait while the limit is reached.

        Raises:
            GatewayError: choose.queue_full, choose.queue_timeout.
        """

    def leave(self, x: Exchange, error: GatewayError | None = None) -> None:
        """Leave the limit; `error` is why another service takes over."""


class HedgeDelay(Protocol):
    """The delay before a hedge."""

    def value(self) -> float | None:
        """Return the seconds without a response before a hedge; `None` for no hedge."""


class Service(Protocol):
    """A named group of endpoints: it chooses one, and records the outcome of each attempt."""

    @property
    def name(self) -> str:
        """As configured; for logs."""

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """All of them, also those that may not be chosen now."""

    @property
    def only(self) -> Endpoint | None:
        """The only endpoint, if `choose` would always return it and need not be called."""

    @property
    def retry(self) -> RetrySettings:
        """Its retry settings; a route's own take precedence."""

    @property
    def budget(self) -> Budget:
        """The budget for retries and hedges."""

    @property
    def concurrency(self) -> Gate | None:
        """The concurrency limit, if there is one."""

    @property
    def hedge_delay(self) -> HedgeDelay | None:
        """The delay before a hedge; `None` if it does not hedge."""

    @property
    def breaks(self) -> bool:
        """Whether it has circuit breakers, so that `begin` must be called for each attempt."""

    @property
    def affinity(self) -> Affinity | None:
        """How clients are kept on their endpoints; `None` if they are not."""

    @property
    def current(self) -> Service | None:
        """The service of this name in the current snapshot; `None` if there is none."""

    def random(self) -> float:
        """Return a float of [0, 1), for the jitter of retries."""

    def endpoint(self, url: str) -> Endpoint:
        """Return the endpoint with a configured URL. Raises `ValueError` if there is none."""

    def choose(self, x: Exchange, avoid: Collection[Any], /) -> Endpoint:
        """Choose an endpoint: one of `avoid` only if there is no other.

        Raises:
            GatewayError: choose.*.
        """

    def has_other(self, avoid: Collection[Any]) -> bool:
        """Return whether an endpoint that is not in `avoid` may be chosen now."""

    def begin(self, attempt: Any, now: float) -> None:
        """Record the start of an attempt; it may be a circuit's probe (`Attempt.probe`, `Attempt.service_probe`)."""

    def answered(self, attempt: Any, status: int, now: float) -> None:
        """Record a response's head."""

    def outrun(self, attempt: Any, now: float) -> None:
        """Record that another endpoint's response was taken before this attempt, already sent, had one."""

    def failed(self, attempt: Any, code: str, now: float) -> None:
        """Record a failure of the endpoint by its code: no response, or an incomplete one."""

    def inconclusive(self, attempt: Any, now: float) -> None:
        """Record the end of a probe without an outcome."""
