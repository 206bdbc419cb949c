"""One exchange: a request with its response, and the coroutine that carries it through the gateway.

No Task carries it. `forward()` is a coroutine that connections step: it runs until it must wait, and the callback
that changes what it waits for calls `notify()`, which goes on with it inside that very callback. Two rules keep
this sound:

* State lives in the objects waited for (a connection, a Task). `forward()` looks at the state, and only when it is
  not there yet awaits `pause()`; then it looks again. So nothing is lost that happens while it runs, and waking it
  once too often does no harm.
* Nobody but this class touches the coroutine. What must end an exchange (the client went away, a deadline passed)
  calls `fail()`: the error comes out of the `pause()` it stands at, or out of the next one.
"""

from __future__ import annotations

import logging
import types
from asyncio import CancelledError
from dataclasses import replace
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from propylon.engine.errors import GatewayError
from propylon.engine.event_stream import NO_RULES
from propylon.engine.message import Request, Response
from propylon.http.forwarded import GATEWAY_OWNED
from propylon.http.target import PathRules, TargetError, canonical_path

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from propylon.engine.attempt import Attempt
    from propylon.engine.backend import Endpoint, Gate, Service
    from propylon.engine.body import Body
    from propylon.engine.client_certificate import ClientCertificate
    from propylon.engine.event_stream import EventStream, StreamRules
    from propylon.engine.replay import Replay
    from propylon.engine.sides import Client, Upstream
    from propylon.engine.snapshot import CompiledRoute, Snapshot
    from propylon.engine.timing import Ending, Timeouts
    from propylon.engine.transform import Transform
    from propylon.engine.websocket.settings import TunnelSettings
    from propylon.engine.websocket.tunnel import Tunnel
    from propylon.http.forwarded import Origin
    from propylon.http.headers import Headers
    from propylon.http.host import Host
    from propylon.http.request_head import RequestFields

log = logging.getLogger("propylon.engine")


class Exchange:
    """What every step and every policy of one request shares.

    Attributes:
        id: the X-Request-Id of this exchange, as bytes.
        client_method: the method the client sent; `method` is the one that goes to the service.
        shows_request_id: whether the client gets it.
        route: the route that matched, if any.
        service: the service it goes to, if any.
        endpoint: the endpoint that was chosen last, once there is one.
        attempt: the try under way, or whose answer is passed on.
        attempts: how many times the request was sent.
        gate: where it has a place in its service, if that has a limit.
        replay: keeps a body under way, if the request may be sent to another endpoint.
        error: the gateway's own failure, if there was one.
        status: the status sent to the client; 0 before.
        transform: what the response's body passes through, if policies change it.
        tunnel: what carries it behind a 101.
        tunnel_settings: how that is watched, if a policy said so.
        state: a dictionary for policies' own values.
        timeouts: how long its endpoint may take; replace it with `set_timeouts`.
        body_limit: the largest request body in bytes, or `None`.
        event_stream: what passes the response on, if it is an event stream in plain text.
        extra_fields: lines for the header section of the client's answer, each with its CRLF.
        stream_rules: what is done with event streams; replace it with `set_stream_rules`.
        ending: how it is to be ended if it goes on for long, as the gateway stops.
        deadline: when it fails with `expiry`, unless it is armed anew before.
    """

    __slots__ = (
        "_deferred",
        "_failure",
        "_headers",
        "_origin",
        "_request",
        "_response",
        "_running",
        "_state",
        "_way",
        "attempt",
        "attempts",
        "body",
        "body_limit",
        "client",
        "client_method",
        "deadline",
        "ending",
        "endpoint",
        "error",
        "event_stream",
        "expiry",
        "extra_fields",
        "fields",
        "finished",
        "gate",
        "host",
        "id",
        "method",
        "path",
        "path_params",
        "path_rest",
        "pinned",
        "policy_deadlines",
        "query",
        "refusal",
        "replay",
        "rewritten",
        "route",
        "service",
        "shows_request_id",
        "snapshot",
        "started",
        "status",
        "stream_rules",
        "timeouts",
        "total_deadline",
        "transform",
        "tunnel",
        "tunnel_settings",
    )  # fmt: skip

    def __init__(self, client: Client, snapshot: Snapshot, method: bytes, path: bytes, query: bytes | None) -> None:
        self.client = client
        self.snapshot = snapshot
        self.method = self.client_method = method
        self.path = path
        self.query = query
        self.fields: RequestFields = snapshot.no_fields
        self.host: Host | None = None
        self.body: bytes | Body | None = None
        self.id = b""
        self.shows_request_id = True
        self.refusal: GatewayError | None = None
        self.route: CompiledRoute = snapshot.outside
        self.path_params: dict[str, bytes] = _NO_PARAMS
        self.path_rest = b""
        self.rewritten = False
        self.service: Service | None = None
        self.pinned: Endpoint | None = None
        self.endpoint: Endpoint | None = None
        self.transform: Transform | None = None
        self.event_stream: EventStream | None = None
        self.stream_rules: StreamRules = NO_RULES
        self.extra_fields = b""
        self.ending: Ending | None = None
        self.tunnel: Tunnel | None = None
        self.tunnel_settings: TunnelSettings | None = None
        self.attempt: Attempt | None = None
        self.attempts = 0
        self.replay: Replay | None = None
        self.gate: Gate | None = None
        self._response: Response | None = None
        self.error: GatewayError | None = None
        self.status = 0
        self.finished = False
        self.timeouts: Timeouts = snapshot.timeouts
        self.body_limit: int | None = None
        self.started = monotonic()
        self.deadline = self.total_deadline = inf
        self.policy_deadlines: dict[object, float] | None = None
        self.expiry = ""
        self._request: Request | None = None
        self._headers: Headers | None = None
        self._state: dict[str, Any] | None = None
        self._origin: Origin | None = None
        self._deferred: list[Callable[[], object]] | None = None
        self._failure: GatewayError | None = None
        self._running = False
        self._way: Coroutine[None, None, None] | None = None

    # what policies use

    @property
    def request(self) -> Request:
        """The request."""
        if self._request is None:
            self._request = Request(self, self._headers)
        return self._request

    @property
    def request_id(self) -> str:
        """The X-Request-Id of this exchange."""
        return self.id.decode("ascii")

    @property
    def response(self) -> Response | None:
        """The answer, from `on_response` on. A policy may put another `Response` in its place."""
        return self._response

    @response.setter
    def response(self, value: Response) -> None:
        if not isinstance(value, Response):
            raise TypeError(f"{value!r} is no Response")
        self._response = value

    @property
    def upstream(self) -> Upstream | None:
        """What carries the attempt under way, if there is one."""
        return self.attempt.upstream if self.attempt is not None else None

    @property
    def changed_request(self) -> Request | None:
        """The request if any policy looked at it, and so may have changed it."""
        return self._request

    @property
    def state(self) -> dict[str, Any]:
        """Values that policies keep for each other during this exchange."""
        if self._state is None:
            self._state = {}
        return self._state

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a request header by its lower-case name; none that a client may not set."""
        return None if name in GATEWAY_OWNED else self.fields.first(name)

    @property
    def client_address(self) -> bytes:
        """The client's address, counted from the right through trusted proxies."""
        return self.origin.client

    @property
    def client_certificate(self) -> ClientCertificate | None:
        """The verified certificate that the client has shown to this gateway; `None` if it has shown none."""
        return self.client.client_certificate

    @property
    def elapsed(self) -> float:
        """Seconds since the request's head was read."""
        return monotonic() - self.started

    @property
    def origin(self) -> Origin:
        """Who the client is and what it asked for, as far as trusted proxies tell."""
        if self._origin is None:
            self._origin = self.client.origin(self)
        return self._origin

    @property
    def is_websocket(self) -> bool:
        """Whether the request asks for a WebSocket."""
        return self.fields.websocket

    @property
    def params(self) -> dict[str, str]:
        """The path parameters of the route, percent-encoded as they came."""
        return {name: value.decode("latin-1") for name, value in self.path_params.items()}

    def set_timeouts(self, **seconds: float | None) -> None:
        """Change how long this exchange may take: any of the fields of `Timeouts`, in seconds.

        `idle` counts for event streams too, unless `event_stream` is set along.
        """
        if "idle" in seconds:
            seconds.setdefault("event_stream", seconds["idle"])
        self.timeouts = replace(self.timeouts, **seconds)
        if "total" in seconds and self.upstream is None:
            total = self.timeouts.total
            self.total_deadline = inf if total is None else self.started + total
            self.disarm()

    def set_stream_rules(self, **rules: Any) -> None:
        """Change what is done with the response if it is an event stream: any of the fields of `StreamRules`."""
        self.stream_rules = replace(self.stream_rules, **rules)

    def limit_body(self, limit: int) -> None:
        """Accept no request body larger than `limit` bytes.

        Raises:
            GatewayError: request.body_too_large (413), if it is known to be larger already.
        """
        self.body_limit = limit
        body = self.body
        arrived = 0 if body is None else len(body) if isinstance(body, bytes) else max(body.size, body.length)
        if max(self.fields.length, arrived) > limit:
            raise GatewayError("request.body_too_large", f"the body is larger than {limit} bytes")

    def choose(self, url: str) -> None:
        """Send this request to the endpoint `url` of its service, whatever the balancing would say.

        Raises:
            ValueError: the service has no such endpoint, or the route has no service.
        """
        if self.service is None:
            raise ValueError("this route goes to no service")
        self.pinned = self.service.endpoint(url)

    def set_path(self, value: str) -> None:
        """Replace the path; see `Request.path`. Raises `ValueError` if it is no canonical path."""
        try:
            self.path = canonical_path(value.encode("latin-1"), _KEEP)
        except TargetError as error:
            raise ValueError(error.detail) from None
        self.rewritten = True

    def set_query(self, value: str | None) -> None:
        """Replace the query. Raises `ValueError` if it could end the request line."""
        query = None if value is None else value.encode("latin-1")
        if query is not None and any(byte < 0x21 or byte > 0x7E or byte == 0x23 for byte in query):
            raise ValueError("a query has only visible ASCII characters and no '#'; percent-encode the others")
        self.query = query

    def defer(self, action: Callable[[], object]) -> None:
        """Call `action` when the exchange ends, whatever happens."""
        if self._deferred is None:
            self._deferred = []
        self._deferred.append(action)

    # what the engine and the connections use

    def start(self, way: Coroutine[None, None, None]) -> None:
        """Begin to carry the exchange along `way`, the coroutine of `forward()`."""
        self._way = way
        self._step()

    def notify(self) -> None:
        """Go on if `forward()` waits: something it may wait for has changed."""
        if not self._running and not self.finished:
            self._step()

    def wake(self, _: object) -> None:
        """Do what `notify` does, as the callback of a Task."""
        self.notify()

    def fail(self, error: GatewayError) -> None:
        """End the exchange with `error`, now or at its next `pause()`."""
        if self.finished or self._failure is not None:
            return
        self._failure = error
        if not self._running:
            self._step()

    @types.coroutine
    def pause(self) -> Generator[None, None, None]:
        """Wait for the next `notify()`. Raises what `fail()` was given, once."""
        if self._failure is None:
            yield
        failure = self._failure
        if failure is not None:
            self._failure = None
            raise failure

    def arm(self, seconds: float | None, code: str) -> None:
        """Let the exchange fail with `code` after `seconds`, unless it is armed anew before."""
        self.deadline = monotonic() + seconds if seconds is not None else inf
        self.expiry = code
        if self.total_deadline < self.deadline:
            self.deadline = self.total_deadline
            self.expiry = "attempt.total_timeout"
        if self.deadline < self.client.due:
            self.client.due = self.deadline

    def arm_relay(self, upstream: Upstream) -> None:
        """Let the response's next bytes arrive in `timeouts.idle`, once the whole request is out."""
        if upstream.request_sent and not upstream.complete:
            seconds = self.timeouts.idle
            if upstream.head is not None and upstream.head.event_stream:
                seconds = self.timeouts.event_stream
                if seconds is None and self.deadline == inf:
                    return  # the common case of events, of which there are many
            self.arm(seconds, "relay.idle_timeout")

    def arm_policy(self, owner: object) -> None:
        """Let what `owner` stands for take at most `timeouts.policy`."""
        if self.timeouts.policy is not None:
            if self.policy_deadlines is None:
                self.policy_deadlines = {}
            self.policy_deadlines[owner] = deadline = monotonic() + self.timeouts.policy
            self.check_by(deadline)

    def disarm_policy(self, owner: object) -> None:
        """Learn that `owner` is done."""
        if self.policy_deadlines is not None:
            self.policy_deadlines.pop(owner, None)

    def disarm(self) -> None:
        """Let no deadline end the exchange but that of its total time."""
        self.deadline = self.total_deadline
        self.expiry = "attempt.total_timeout"
        self.check_by(self.deadline)

    def end_by(self, ending: Ending) -> None:
        """End what would go on for long, if the exchange is that or becomes it."""
        self.ending = ending
        if self.event_stream is not None:
            self.event_stream.end_at(ending.when)
        if self.tunnel is not None:
            self.tunnel.close_at(*ending)

    def check_by(self, when: float) -> None:
        """Be checked at `when` (`time.monotonic`), or before: a check that comes too early does nothing."""
        if when < self.client.due:
            self.client.due = when

    def check(self, now: float) -> None:
        """Fail if a deadline has passed; otherwise tell the client's side when to check again."""
        if self.tunnel is not None and self.tunnel.deadline <= now:
            self.tunnel.check(now)
        if self.deadline <= now:
            if self.expiry == "attempt.stalled" and self.upstream is not None and self.upstream.progressed():
                self.arm(self.timeouts.idle, "attempt.stalled")  # slow, but it moves
            else:
                self.deadline = inf
                self.fail(GatewayError(self.expiry))
        elif self.policy_deadlines and min(self.policy_deadlines.values()) <= now:
            self.policy_deadlines = None
            self.fail(GatewayError("request.policy_timeout"))
        if self.event_stream is not None and self.event_stream.due <= now:
            self.event_stream.check(now)
        if not self.finished:
            self._check_again()

    def _check_again(self) -> None:
        self.check_by(self.deadline)
        if self.policy_deadlines:
            self.check_by(min(self.policy_deadlines.values()))
        if self.event_stream is not None:
            self.check_by(self.event_stream.due)
        if self.tunnel is not None:
            self.check_by(self.tunnel.deadline)

    def end_attempt(self) -> None:
        """Settle the attempt under way, if there is one: nothing more is wanted of its endpoint."""
        if self.attempt is not None:
            self.attempt.settle()

    def leave_gate(self, error: GatewayError | None = None) -> None:
        """Give back the place in a service, if there is one; `error` is why another service takes over."""
        gate, self.gate = self.gate, None
        if gate is not None:
            gate.leave(self, error)

    def settle(self) -> None:
        """Give back all that the exchange holds, and carry out what was deferred: it is over (step 8)."""
        if self.attempt is not None:
            self.attempt.settle()
        if self.replay is not None:
            self.replay.unplug()
        self.finished = True
        self.deadline = inf
        if self.gate is not None:
            self.leave_gate()
        if self._deferred is not None:
            for action in self._deferred:
                try:
                    action()
                except Exception:  # the others are still due
                    log.exception("exchange %s could not be cleaned up", self.request_id)

    def _step(self) -> None:
        assert self._way is not None
        self._running = True
        try:
            self._way.send(None)
        except StopIteration:
            self.finished = True
        except (Exception, CancelledError):
            # forward() answers every failure itself, so this is a defect of it: nothing may hang for it.
            self.finished = True
            log.exception("exchange %s was lost by a defect of the gateway", self.request_id)
            self.client.abort()
        finally:
            self._running = False
        if self.finished:
            self.client.exchange_done(self)
            self._untie()

    def _untie(self) -> None:
        """Cut the references that lead back here, so that an exchange is freed at once and not by the collector."""
        if self._request is not None:
            self._headers, self._request = self._request.headers, None  # who still asks for it, gets another like it
        self._way = self.transform = self.event_stream = self._deferred = self.tunnel = None
        if self.error is not None or self._failure is not None:
            for error in (self.error, self.refusal, self._failure):
                if error is not None:
                    error.__traceback__ = error.__context__ = error.__cause__ = None


_NO_PARAMS: dict[str, bytes] = {}
_KEEP = PathRules(encoded_slashes=True, semicolons=True)
