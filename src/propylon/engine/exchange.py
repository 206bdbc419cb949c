"""One exchange: a request, the route it takes, and its answer. It is what every step and every policy shares.

How it is carried is told in `stepped.py`, what bounds it in time in `timed.py`: both are parts of it, and not objects
beside it, since one is made for each request.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.event_stream import NO_RULES
from propylon.engine.message import Request, Response
from propylon.engine.step_times import StepTimes, step_times
from propylon.engine.timed import Timed
from propylon.http.forwarded import GATEWAY_OWNED
from propylon.http.target import PathRules, TargetError, canonical_path

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

log = logging.getLogger("propylon.engine")


class Exchange(Timed):
    """What every step and every policy of one request shares.

    Attributes:
        id: the X-Request-Id of this exchange, as bytes.
        client_method: the method the client sent; `method` is the one that goes to the service.
        shows_request_id: whether the client gets it.
        route: the route that matched, if any.
        service: the service it goes to, if any.
        endpoint: the endpoint that was chosen last, once there is one.
        attempt: the last try: under way, or whose answer is passed on, or settled.
        identity: who the client is, once a policy has found that out.
        attempts: how many times the request was sent.
        gate: where it has a place in its service, if that has a limit.
        replay: keeps a body under way, if the request may be sent to another endpoint.
        error: the gateway's own failure, if there was one.
        status: the status sent to the client; 0 before.
        transform: what the response's body passes through, if policies change it.
        tunnel_settings: how a tunnel behind a 101 is watched, if a policy said so.
        state: a dictionary for policies' own values.
        body_limit: the largest request body in bytes, or `None`.
        bytes_in: what the client has sent for it, head and framing included.
        bytes_out: what the client was sent for it, head and framing included; written, and not yet received.
        extra_fields: lines for the header section of the client's answer, each with its CRLF.
        stream_rules: what is done with event streams; replace it with `set_stream_rules`.
    """

    __slots__ = (
        "_deferred",
        "_headers",
        "_origin",
        "_request",
        "_response",
        "_state",
        "attempt",
        "attempts",
        "body",
        "body_limit",
        "bytes_in",
        "bytes_out",
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
        # Those of the parts too: to call their constructors would make this one dearer by a tenth.
        self._failure = self._way = self.lasting = self.ending = self.policy_deadlines = None
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
        self._request: Request | None = None
        self._headers: Headers | None = None
        self._state: dict[str, Any] | None = None
        self._origin: Origin | None = None
        self._deferred: list[Callable[[], object]] | None = None

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
    def tries(self) -> list[Attempt]:
        """Every attempt so far, in order; of a WebSocket that changed its endpoint, those since then."""
        found: list[Attempt] = []
        last = self.attempt
        while last is not None:
            found.append(last)
            last = last.previous
        return found[::-1]

    @property
    def upstream(self) -> Upstream | None:
        """What carries the attempt under way, if there is one."""
        return self.attempt.upstream if self.attempt is not None else None

    @property
    def response_source(self) -> Upstream | BodySource | None:
        """What feeds the response's body, and has to wait while the client does not take it."""
        response = self._response
        if response is not None and response.bound and isinstance(response.content, Body):
            return response.content.source
        return self.upstream

    @property
    def tunnel(self) -> Tunnel | None:
        """What carries a WebSocket, once the endpoint has accepted it."""
        return cast("Tunnel | None", self.lasting) if self.status == 101 else None

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
    def protocol(self) -> str:
        """What the client speaks: `HTTP/1.1` or `HTTP/1.0`; `internal` for a request of the gateway's own."""
        return self.client.protocol

    @property
    def step_times(self) -> StepTimes:
        """Seconds for each step; complete in `on_done`."""
        return step_times(self)

    @property
    def client_certificate(self) -> ClientCertificate | None:
        """The verified certificate that the client has shown to this gateway; `None` if it has shown none."""
        return self.client.client_certificate

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

    def _lost(self) -> None:
        self.client.abort()

    def _over(self) -> None:
        """Tell the client's side, and cut the references that lead back here: so an exchange is freed at once."""
        self.client.exchange_done(self)
        if self._request is not None:
            self._headers, self._request = self._request.headers, None  # who still asks for it, gets another like it
        self._way = self.transform = self._deferred = self.lasting = None
        if self.error is not None or self._failure is not None:
            for error in (self.error, self.refusal, self._failure):
                if error is not None:
                    error.__traceback__ = error.__context__ = error.__cause__ = None


_NO_PARAMS: dict[str, bytes] = {}
_KEEP = PathRules(encoded_slashes=True, semicolons=True)
