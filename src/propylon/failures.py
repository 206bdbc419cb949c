"""THE table of what can go wrong: every failure has a code `step.cause`, a status and a hint.

The code is what logs, metrics, tests and clients call it; `docs/errors.md` is generated from this table. The rule
behind the statuses of services: 503 nobody was there, 502 somebody answered badly, 504 it took too long. A client
never sees more than code, status, title and a detail made of what it sent itself; addresses and exception texts are
for the log.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """One row of the table.

    Attributes:
        status: the HTTP status of the answer; 499 and 0 are never sent, they only name what is logged.
        title: what a client reads.
        hint: what an operator does about it.
        cause: why there is no answer, or only half of one: `connect`, `reset`, `timeout` and `busy` are what
            `retry.on` may name; `broken` comes too late for that. Empty if no endpoint has to do with it.
    """

    status: int
    title: str
    hint: str
    cause: str = ""

    @property
    def blames_endpoint(self) -> bool:
        """Whether it speaks against the endpoint's health."""
        return self.cause not in ("", "busy")


FAILURES: dict[str, Failure] = {
    # reading the request
    "read.bad_request_line": Failure(400, "Malformed request line", "The client sent no valid HTTP."),
    "read.bad_target": Failure(
        400, "Malformed request target", "Ambiguous paths are refused; see `paths:` for what may be kept."
    ),
    "read.bad_field": Failure(
        400, "Malformed header field", "See `field_names:` if the name has an underscore or a dot."
    ),
    "read.bad_host": Failure(400, "Malformed Host", "The client sent no Host, several, or none that is a host."),
    "read.bad_framing": Failure(400, "Ambiguous message framing", "Often an attempt at request smuggling."),
    "read.bad_chunk": Failure(400, "Malformed chunked body", "Often an attempt at request smuggling."),
    "read.unexpected_eof": Failure(400, "Incomplete request", "The client closed before its request was complete."),
    "read.method_refused": Failure(405, "Method not allowed", "TRACE is never forwarded."),
    "read.connect_refused": Failure(405, "Method not allowed", "CONNECT is for forward proxies."),
    "read.head_timeout": Failure(408, "Request header timeout", "`timeouts.header` passed before the head was in."),
    "read.body_timeout": Failure(408, "Request body timeout", "`timeouts.body` passed without a byte of the body."),
    "read.line_too_long": Failure(414, "Request line too long", "See `limits.request_line`."),
    "read.expectation": Failure(417, "Expectation failed", "Only `Expect: 100-continue` is understood."),
    "read.head_too_large": Failure(431, "Request header too large", "See `limits.header_block`."),
    "read.too_many_fields": Failure(431, "Too many header fields", "See `limits.header_count`."),
    "read.unknown_coding": Failure(501, "Transfer coding not implemented", "Only `chunked` is implemented."),
    "read.bad_version": Failure(505, "HTTP version not supported", "Use HTTP/1.1 or HTTP/1.0."),
    # admit, match
    "admit.connections": Failure(503, "Too many connections", "See `limits.connections`."),
    "admit.loop": Failure(508, "Loop detected", "The request passed this gateway before: look for a route to itself."),
    "admit.misdirected": Failure(421, "Misdirected request", "Host names another host than the TLS connection (SNI)."),
    "match.no_route": Failure(404, "Not found", "No route matches; `propylon explain` says why each lost."),
    "match.method": Failure(405, "Method not allowed", "A route matches in all but its `methods:`."),
    # the opening handshake of a WebSocket
    "upgrade.bad_handshake": Failure(
        400, "Malformed WebSocket handshake", "The client asked for a WebSocket, and broke RFC 6455 4.2.1."
    ),
    "upgrade.version": Failure(426, "WebSocket version not supported", "Only version 13 is spoken (RFC 6455 4.4)."),
    "upgrade.refused": Failure(403, "WebSocket refused", "The route has `websocket: refuse`."),
    "upgrade.origin": Failure(403, "Origin not allowed", "See `origins` of the `websocket` policy."),
    "upgrade.too_many": Failure(503, "Too many WebSockets", "See `max_connections` of the `websocket` policy."),
    # the request's policies
    "request.policy_failed": Failure(500, "Internal error", "A policy raised; the log has its traceback."),
    "request.policy_timeout": Failure(504, "Gateway timeout", "An async policy took longer than `timeout.policy`."),
    "request.fault": Failure(503, "Injected fault", "The `fault` policy did it, with the status it has there."),
    "request.body_too_large": Failure(413, "Body too large", "See the `body_limit` policy."),
    "response.policy_failed": Failure(500, "Internal error", "A policy raised; the log has its traceback."),
    "response.stalled": Failure(504, "Gateway timeout", "A policy made no piece of a body for `timeout.idle`."),
    "response.body_too_large": Failure(
        502, "Response too large", "A policy read a response body that is larger than its limit."
    ),
    "response.too_many_streams": Failure(503, "Too many event streams", "See `max_streams` of the `sse` policy."),
    "gateway.failed": Failure(500, "Internal error", "A defect of the gateway; the log has its traceback."),
    # choosing and reaching an endpoint
    "choose.no_endpoint": Failure(503, "Service unavailable", "The service has no endpoint that could serve."),
    "choose.broken": Failure(503, "Service unavailable", "Its circuit is open; the log has why. See `breaker:`."),
    "choose.queue_full": Failure(503, "Service unavailable", "See `connections.queue` and `concurrency`.", "busy"),
    "choose.queue_timeout": Failure(503, "Service unavailable", "See `connections.max` and `concurrency`.", "busy"),
    "connect.dns": Failure(503, "Service unavailable", "The endpoint's name did not resolve.", "connect"),
    "connect.refused": Failure(503, "Service unavailable", "Nothing listens at the endpoint.", "connect"),
    "connect.unreachable": Failure(503, "Service unavailable", "No network path to the endpoint.", "connect"),
    "connect.timeout": Failure(504, "Gateway timeout", "The endpoint did not accept in `timeout.connect`.", "connect"),
    "connect.tls": Failure(502, "Bad gateway", "The TLS handshake with the endpoint failed; see `tls:`.", "connect"),
    # the attempt
    "attempt.closed": Failure(502, "Bad gateway", "The endpoint closed before it answered.", "reset"),
    "attempt.total_timeout": Failure(504, "Gateway timeout", "`timeout.total` passed.", "broken"),
    "attempt.stalled": Failure(
        504, "Gateway timeout", "The endpoint took no byte of the body for `timeout.idle`.", "timeout"
    ),
    "head.timeout": Failure(504, "Gateway timeout", "The endpoint did not answer in `timeout.response`.", "timeout"),
    "head.bad": Failure(
        502, "Bad gateway", "The endpoint's answer breaks the rules of HTTP; the log says which.", "reset"
    ),
    # after the head: the connection is cut, for the status has been sent
    "relay.truncated": Failure(502, "Bad gateway", "The endpoint closed before its body was complete.", "broken"),
    "relay.bad_chunk": Failure(502, "Bad gateway", "The endpoint's chunked coding is broken.", "broken"),
    "relay.idle_timeout": Failure(504, "Gateway timeout", "The endpoint sent no byte for `timeout.idle`.", "broken"),
    "relay.client_stalled": Failure(499, "Client stalled", "The client read no byte for `timeouts.write`."),
    "relay.client_gone": Failure(499, "Client closed", "The client went away before the answer was complete."),
    # after a 101: both sides are told by a Close frame; the status only sorts the failure in logs
    "tunnel.client_lost": Failure(499, "Client closed", "The client went away without a Close frame."),
    "tunnel.client_silent": Failure(499, "Client gone", "The client did not answer a ping: see `websocket` policy."),
    "tunnel.client_broke": Failure(400, "WebSocket error", "The client broke RFC 6455, or a limit of the policy."),
    "tunnel.endpoint_lost": Failure(502, "Bad gateway", "The endpoint went away without a Close frame.", "broken"),
    "tunnel.endpoint_silent": Failure(504, "Gateway timeout", "The endpoint did not answer a ping.", "broken"),
    "tunnel.endpoint_broke": Failure(
        502, "Bad gateway", "The endpoint broke RFC 6455, or a limit of the policy.", "broken"
    ),
    "tunnel.backpressure": Failure(503, "Backpressure", "One side did not read what the other one sent."),
    "tunnel.policy_failed": Failure(500, "Internal error", "A policy raised on a message; the log has its traceback."),
}
