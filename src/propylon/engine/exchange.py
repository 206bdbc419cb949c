"""One exchange: a request, its route and its response; the state shared by all steps and policies.

Its coroutine is stepped by the base class in `stepped.py`, its deadlines are in that of `timed.py`: bases and not
objects of their own, as there is one exchange for each request.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from propylon.engine import lines
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.event_stream import NO_RULES
from propylon.engine.request import Request
from propylon.engine.response import Response
from propylon.engine.step_times import StepTimes, step_times
from propylon.engine.timed import Timed
from propylon.http.target import KEEP_ALL, KEEP_SLASHES, TargetError, canonical_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.attempt import Attempt
    from propylon.engine.backend import Endpoint, Gate, Service
    from propylon.engine.body import BodySource
    from propylon.engine.client_certificate import ClientCertificate
    from propylon.engine.event_stream import StreamRules
    from propylon.engine.replay import Replay
    from propylon.engine.sides import Client, Upstream
    from propylon.engine.snapshot import CompiledRoute, Snapshot
    from propylon.engine.transform import Transform
    from propylon.engine.websocket.settings import TunnelSettings
    from propylon.engine.websocket.tunnel import Tunnel
    from propylon.http.forwarded import Origin
    from propylon.http.headers import Headers
    from propylon.http.host import Host
    from propylon.http.request_head import RequestFields


class Exchange(Timed):
    """The state of one request and its response, shared by all steps and policies.

    Attributes:
        id: the X-Request-Id of this exchange, as bytes.
        client_method: the method the client sent; `method` is the one sent to the service.
        shows_request_id: whether the client's response carries the X-Request-Id.
        route: the route that matched, if any.
        service: the service of the request, if any.
        endpoint: the endpoint that was chosen last, if any.
        pinned: the endpoint set by `choose`; `None` leaves it to balancing.
        attempt: the last attempt: in flight, or the one whose response is passed on, or settled.
        identity: the authenticated client, once a policy has set it.
        attempts: how many times the request was sent.
        gate: the concurrency limit of the service that it has entered, if any.
        replay: keeps a body under way, if the request may be sent to another endpoint.
        error: the gateway's own failure, if there was one.
        status: the status sent to the client; 0 before.
        transform: the chunk policies that the response's body passes through, if any.
        tunnel_settings: of the tunnel after a 101, if a policy has set them.
        state: a dictionary for policies' own values.
        changed_request: the request if any policy has read it, and so may have changed it.
        body_limit: the largest request body in bytes, or `None`.
        bytes_in: bytes read from the client, head and framing included.
        bytes_out: bytes written to the client, head and framing included; it may not have received them yet.
        extra_fields: lines for the header section of the client's response, each with its CRLF.
        path_rest: the path rest: what the final `*` of the route's pattern matched.
        stream_rules: for event streams; replace them with `set_stream_rules`.
    """

    __slots__ = (
        "_deferred",
        "_headers",
        "_origin",
        "_response",
        "_state",
        "attempt",
        "attempts",
        "body",
        "body_limit",
        "bytes_in",
        "bytes_out",
        "changed_request",
        "client_method",
        "endpoint",
        "error",
        "extra_fields",
        "fields",
        "gate",
        "host",
        "id",
        "identity",
        "method",
        "path",
        "path_params",
        "path_rest",
        "pinned",
        "query",
        "refusal",
        "replay",
        "rewritten",
        "route",
        "service",
        "shows_request_id",
        "snapshot",
        "status",
        "stream_rules",
        "transform",
        "tunnel_settings",
    )  # fmt: skip

    def __init__(self, client: Client, snapshot: Snapshot, method: bytes, path: bytes, query: bytes | None) -> None:
        # The attributes of the bases too: calling their constructors would cost a tenth more.
        self._failure = self._coroutine = self.lasting = self.ending = self.policy_deadlines = None
        self._running = self.finished = False
        self.client = client
        self.timeouts = snapshot.timeouts
        self.started = monotonic()
        self.deadline = self.total_deadline = self.ended = inf
        self.expiry = ""
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
        self.stream_rules: StreamRules = NO_RULES
        self.extra_fields = b""
        self.tunnel_settings: TunnelSettings | None = None
        self.attempt: Attempt | None = None
        self.attempts = 0
        self.identity: object = None
        self.replay: Replay | None = None
        self.gate: Gate | None = None
        self._response: Response | None = None
        self.error: GatewayError | None = None
        self.status = 0
        self.body_limit: int | None = None
        self.bytes_in = self.bytes_out = 0
        self.changed_request: Request | None = None
        self._headers: Headers | None = None
        self._state: dict[str, Any] | None = None
        self._origin: Origin | None = None
        self._deferred: list[Callable[[], object]] | None = None

    # for policies

    @property
    def request(self) -> Request:
        """The request."""
        if self.changed_request is None:
            self.changed_request = Request(self, self._headers)
        return self.changed_request

    @property
    def request_id(self) -> str:
        """The X-Request-Id of this exchange."""
        return self.id.decode("ascii")

    @property
    def response(self) -> Response | None:
        """The response, from `on_response` on. A policy may replace it by another `Response`."""
        return self._response

    @response.setter
    def response(self, value: Response) -> None:
        if not isinstance(value, Response):
            raise TypeError(f"{value!r} is no Response")
        self._response = value

    @property
    def tries(self) -> list[Attempt]:
        """All attempts so far, in order; for a WebSocket that changed its endpoint, those since then."""
        found: list[Attempt] = []
        last = self.attempt
        while last is not None:
            found.append(last)
            last = last.previous
        return found[::-1]

    @property
    def upstream(self) -> Upstream | None:
        """The upstream of the current attempt, if there is one."""
        return self.attempt.upstream if self.attempt is not None else None

    @property
    def response_source(self) -> Upstream | BodySource | None:
        """The source of the response's body, held for backpressure while the client does not read."""
        if self.transform is not None:
            return self.transform.source
        response = self._response
        if response is not None and response.bound and isinstance(response.content, Body):
            return response.content.source
        return self.upstream

    @property
    def tunnel(self) -> Tunnel | None:
        """The tunnel of a WebSocket, once the endpoint has accepted it."""
        return cast("Tunnel | None", self.lasting) if self.status == 101 else None

    @property
    def state(self) -> dict[str, Any]:
        """Values of policies, shared for the time of this exchange."""
        if self._state is None:
            self._state = {}
        return self._state

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a request header by its lower-case name; `None` for one that is not taken."""
        return None if name in self.fields.hidden else self.fields.first(name)

    @property
    def client_address(self) -> bytes:
        """The client's address, counted from the right through trusted proxies."""
        return self.origin.client

    @property
    def listener(self) -> str | None:
        """The id of the listener by which the request came; `None` if by none."""
        return self.client.listener_id

    @property
    def protocol(self) -> str:
        """The client's protocol: `HTTP/1.1` or `HTTP/1.0`; `internal` for a subrequest."""
        return self.client.protocol

    @property
    def step_times(self) -> StepTimes:
        """Seconds of each step; complete in `on_done`."""
        return step_times(self)

    @property
    def client_certificate(self) -> ClientCertificate | None:
        """The client's verified certificate; `None` if it presented none to this gateway."""
        return self.client.client_certificate

    @property
    def origin(self) -> Origin:
        """The client's address, and the scheme and host of its request, from trusted proxies if there are any."""
        if self._origin is None:
            self._origin = self.client.origin(self)
        return self._origin

    @property
    def is_websocket(self) -> bool:
        """Whether the request asks for a WebSocket."""
        return self.fields.websocket

    @property
    def params(self) -> dict[str, str]:
        """The path parameters of the route, percent-encoded as received."""
        return {name: value.decode("latin-1") for name, value in self.path_params.items()}

    def set_stream_rules(self, **rules: Any) -> None:
        """Change the rules for an event stream as the response: any of the fields of `StreamRules`."""
        self.stream_rules = replace(self.stream_rules, **rules)

    def limit_body(self, limit: int) -> None:
        """Accept no request body larger than `limit` bytes.

        Raises:
            GatewayError: request.body_too_large (413), if it is already known to be larger.
        """
        self.body_limit = limit
        body = self.body
        arrived = 0 if body is None else len(body) if isinstance(body, bytes) else max(body.size, body.length)
        if max(self.fields.length, arrived) > limit:
            raise GatewayError("request.body_too_large", f"the body is larger than {limit} bytes")

    def choose(self, url: str) -> None:
        """Pin this request to the endpoint `url` of its service, without balancing.

        Raises:
            ValueError: the service has no such endpoint, or the route has no service.
        """
        if self.service is None:
            raise ValueError("this route goes to no service")
        self.pinned = self.service.endpoint(url)

    def set_path(self, value: str) -> None:
        """Replace the path; see `Request.path`. Raises `ValueError` if it is no canonical path."""
        try:
            rules = KEEP_SLASHES if self.route.paths.double_slashes else KEEP_ALL
            self.path = canonical_path(value.encode("latin-1"), rules)
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
        """Call `action` when the exchange ends, in every case."""
        if self._deferred is None:
            self._deferred = []
        self._deferred.append(action)

    # for the engine and the connections

    def end_attempt(self) -> None:
        """Settle the current attempt, if there is one: the rest of its response is not needed."""
        if self.attempt is not None:
            self.attempt.settle()

    def leave_gate(self, error: GatewayError | None = None) -> None:
        """Leave the concurrency limit, if one was entered; `error` is why another service takes over."""
        gate, self.gate = self.gate, None
        if gate is not None:
            gate.leave(self, error)

    def settle(self) -> None:
        """End the exchange: release all that it holds, and run the deferred actions (step 8)."""
        if self.attempt is not None:
            self.attempt.settle()
        if self.replay is not None:
            self.replay.detach()
        self.finished = True
        self.deadline = inf
        if self.gate is not None:
            self.leave_gate()
        if self._deferred is not None:
            for action in self._deferred:
                try:
                    action()
                except Exception:  # the others must still run
                    lines.defect(self, "an exchange could not be cleaned up")

    def _crashed(self) -> None:
        lines.defect(self, "an exchange was lost by a defect of the gateway")
        self.client.abort()

    def _finish(self) -> None:
        """Report the end to the client's side, and break reference cycles, so that the exchange is freed at once."""
        self.client.exchange_done(self)
        if self.changed_request is not None:  # later readers get a new one with the same headers
            self._headers, self.changed_request = self.changed_request.headers, None
        self._coroutine = self.transform = self._deferred = self.lasting = None
        if self.error is not None or self._failure is not None:
            for error in (self.error, self.refusal, self._failure):
                if error is not None:
                    error.__traceback__ = error.__context__ = error.__cause__ = None


_NO_PARAMS: dict[str, bytes] = {}
