"""The table of failures: each has a code `step.cause`, a status, a title and a hint.

Logs, metrics, tests and clients identify a failure by its code; `docs/errors.md` is generated from this table. The
statuses of services follow one rule: 503 for no available endpoint, 502 for an invalid response, 504 for a timeout.
A client is sent only code, status, title and a detail derived from its own request; addresses and exception texts go
to the log.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """One row of the table.

    Attributes:
        status: the HTTP status of the response; 499 and 0 are never sent, only logged.
        title: a short text for clients.
        hint: the likely reason, or the setting to look at, for operators.
        cause: why the response is missing or incomplete: `retry.on` may list `connect`, `reset`, `timeout` and
            `busy`; `broken` occurs too late for a retry. Empty if no endpoint is involved.
    """

    status: int
    title: str
    hint: str
    cause: str = ""

    @property
    def blames_endpoint(self) -> bool:
        """Whether it counts against the endpoint's health."""
        return self.cause not in ("", "busy")


FAILURES: dict[str, Failure] = {
    # reading the request
    "read.bad_request_line": Failure(400, "Malformed request line", "The request line is not valid HTTP."),
    "read.bad_target": Failure(
        400,
        "Malformed request target",
        "Ambiguous targets are refused; `paths:`, or `path_rules:` of a route, let some through.",
    ),
    "read.bad_field": Failure(
        400, "Malformed header field", "See `field_names:` if the name has an underscore or a dot."
    ),
    "read.bad_host": Failure(400, "Malformed Host", "Host is missing, repeated, or not a valid host."),
    "read.bad_framing": Failure(400, "Ambiguous message framing", "Often an attempt at request smuggling."),
    "read.bad_chunk": Failure(400, "Malformed chunked body", "Often an attempt at request smuggling."),
    "read.unexpected_eof": Failure(
        400, "Incomplete request", "The client closed the connection before its request was complete."
    ),
    "read.method_refused": Failure(405, "Method not allowed", "TRACE is never forwarded."),
    "read.connect_refused": Failure(405, "Method not allowed", "CONNECT is for forward proxies."),
    "read.head_timeout": Failure(408, "Request header timeout", "The head was not complete within `timeouts.header`."),
    "read.body_timeout": Failure(408, "Request body timeout", "No byte of the body arrived for `timeouts.body`."),
    "read.line_too_long": Failure(414, "URI too long", "See `limits.request_line`."),
    "read.expectation": Failure(417, "Expectation failed", "Only `Expect: 100-continue` is supported."),
    "read.head_too_large": Failure(431, "Request header too large", "See `limits.header_block`."),
    "read.too_many_fields": Failure(431, "Too many header fields", "See `limits.header_count`."),
    "read.method_too_long": Failure(
        501, "Method not implemented", "The method alone is longer than `limits.request_line`."
    ),
    "read.unknown_coding": Failure(501, "Transfer coding not implemented", "Only `chunked` is implemented."),
    "read.bad_version": Failure(505, "HTTP version not supported", "Use HTTP/1.1 or HTTP/1.0."),
    # admit, match
    "admit.connections": Failure(503, "Too many connections", "See `limits.connections`."),
    "admit.loop": Failure(
        508, "Loop detected", "The request has passed this gateway before: look for a route to itself."
    ),
    "admit.misdirected": Failure(
        421, "Misdirected request", "Host differs from the server name of the TLS connection (SNI)."
    ),
    "match.no_route": Failure(404, "Not found", "No route matches; `propylon explain` shows why."),
    "match.no_file": Failure(404, "Not found", "The directory of `files` has no such file that may be served."),
    "match.method": Failure(405, "Method not allowed", "A route matches except for its `methods:`."),
    # the opening handshake of a WebSocket
    "upgrade.bad_handshake": Failure(
        400, "Malformed WebSocket handshake", "The client's handshake violates RFC 6455 4.2.1."
    ),
    "upgrade.version": Failure(426, "WebSocket version not supported", "Only version 13 is supported (RFC 6455 4.4)."),
    "upgrade.refused": Failure(403, "WebSocket refused", "The route has `websocket: refuse`."),
    "upgrade.origin": Failure(403, "Origin not allowed", "See `origins` of the `websocket` policy."),
    "upgrade.too_many": Failure(503, "Too many WebSockets", "See `max_connections` of the `websocket` policy."),
    # the request's policies
    "request.policy_failed": Failure(500, "Internal error", "A policy raised; the log has its traceback."),
    "request.policy_timeout": Failure(504, "Gateway timeout", "An async policy took longer than `timeout.policy`."),
    "request.fault": Failure(
        503, "Injected fault", "Injected by the `fault` policy, with the status configured there."
    ),
    "request.body_too_large": Failure(413, "Body too large", "See the `body_limit` policy."),
    "request.unsupported_coding": Failure(
        415, "Content coding not supported", "A policy reads the body; `propylon[compression]` adds br and zstd."
    ),
    "request.undecodable": Failure(400, "Malformed content coding", "The body does not match its Content-Encoding."),
    "response.policy_failed": Failure(500, "Internal error", "A policy raised; the log has its traceback."),
    "response.stalled": Failure(504, "Gateway timeout", "A policy produced no data of a body for `timeout.idle`."),
    "response.body_too_large": Failure(
        502, "Response too large", "A policy read a response body larger than its limit."
    ),
    "response.undecodable": Failure(
        502, "Bad gateway", "A policy reads a response with a Content-Encoding that cannot be decoded; see the log."
    ),
    "response.too_many_streams": Failure(503, "Too many event streams", "See `max_streams` of the `sse` policy."),
    "gateway.failed": Failure(500, "Internal error", "A defect of the gateway; the log has its traceback."),
    # choosing and reaching an endpoint
    "choose.no_endpoint": Failure(503, "Service unavailable", "The service has no available endpoint."),
    "choose.broken": Failure(
        503, "Service unavailable", "The circuit is open; the log has the reason. See `breaker:`."
    ),
    "choose.queue_full": Failure(503, "Service unavailable", "See `connections.queue` and `concurrency`.", "busy"),
    "choose.queue_timeout": Failure(503, "Service unavailable", "See `connections.max` and `concurrency`.", "busy"),
    "connect.dns": Failure(503, "Service unavailable", "The endpoint's name did not resolve.", "connect"),
    "connect.refused": Failure(503, "Service unavailable", "Nothing listens at the endpoint.", "connect"),
    "connect.unreachable": Failure(503, "Service unavailable", "No network path to the endpoint.", "connect"),
    "connect.timeout": Failure(
        504, "Gateway timeout", "The endpoint did not accept within `timeout.connect`.", "connect"
    ),
    "connect.tls": Failure(502, "Bad gateway", "The TLS handshake with the endpoint failed; see `tls:`.", "connect"),
    # the attempt
    "attempt.closed": Failure(502, "Bad gateway", "The endpoint closed the connection before a response.", "reset"),
    "attempt.total_timeout": Failure(
        504, "Gateway timeout", "The exchange took longer than `timeout.total`.", "broken"
    ),
    "attempt.stalled": Failure(
        504, "Gateway timeout", "The endpoint read no byte of the body for `timeout.idle`.", "timeout"
    ),
    "head.timeout": Failure(504, "Gateway timeout", "No response head within `timeout.response`.", "timeout"),
    "head.bad": Failure(502, "Bad gateway", "The endpoint's response violates HTTP; the log has the rule.", "reset"),
    # after the head: the connection is aborted, as the status has been sent
    "relay.truncated": Failure(
        502, "Bad gateway", "The endpoint closed the connection before the body was complete.", "broken"
    ),
    "relay.bad_chunk": Failure(502, "Bad gateway", "The endpoint's chunked coding is malformed.", "broken"),
    "relay.idle_timeout": Failure(504, "Gateway timeout", "The endpoint sent no byte for `timeout.idle`.", "broken"),
    "relay.client_stalled": Failure(
        499, "Client stalled", "The client read or acknowledged no byte for `timeouts.write`."
    ),
    "relay.client_gone": Failure(
        499, "Client closed", "The client closed the connection before the response was complete."
    ),
    # after a 101: both sides are sent a Close frame; the status only classifies the failure in logs
    "tunnel.client_lost": Failure(499, "Client closed", "The client disconnected without a Close frame."),
    "tunnel.client_silent": Failure(
        499, "Client gone", "The client answered no ping, or acknowledged nothing: see `websocket` policy."
    ),
    "tunnel.client_broke": Failure(400, "WebSocket error", "The client violated RFC 6455, or a limit of the policy."),
    "tunnel.endpoint_lost": Failure(502, "Bad gateway", "The endpoint disconnected without a Close frame.", "broken"),
    "tunnel.endpoint_silent": Failure(
        504, "Gateway timeout", "The endpoint answered no ping, or acknowledged nothing.", "broken"
    ),
    "tunnel.endpoint_broke": Failure(
        502, "Bad gateway", "The endpoint violated RFC 6455, or a limit of the policy.", "broken"
    ),
    "tunnel.backpressure": Failure(503, "Backpressure", "One side did not read what the other side sent."),
    "tunnel.policy_failed": Failure(500, "Internal error", "A policy raised on a message; the log has its traceback."),
}
