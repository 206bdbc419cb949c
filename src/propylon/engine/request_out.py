"""Step 5: write the request of an exchange to an upstream."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.offer import EXPECT, Offer, may_offer
from propylon.engine.sides import UNKNOWN
from propylon.engine.transform import Transform
from propylon.http.fields import CONNECTION_BOUND, render
from propylon.http.refusal import Refusal
from propylon.http.request_head import HOSTS, WRITTEN_ANEW
from propylon.http.target import PathRules, TargetError, canonical_path, merge_slashes

if TYPE_CHECKING:
    from propylon.engine.backend import Endpoint
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Upstream
    from propylon.http.headers import Headers, Pair


PRESERVE = b"*"
"""The `host:` rule that passes on the client's Host."""


def send_request(
    x: Exchange, endpoint: Endpoint, upstream: Upstream, headers: Headers | None, extra: bytes = b""
) -> None:
    """Write the request; a body under way follows as it arrives.

    Args:
        headers: the header section if policies may have changed it for this attempt.
        extra: further fields of this attempt, as lines.

    Raises:
        GatewayError: read.bad_target, if a rewrite makes the path invalid.
    """
    route, origin = x.route, x.origin
    if route.rewrite is None:
        path = endpoint.base_path + x.path
    else:
        path = rewritten_path(x)
        path = endpoint.base_path + path if path else endpoint.root
    query = x.query if route.query_edit is None else route.query_edit.apply(x.query, x)
    if query is not None:
        path += b"?" + query
    authority = endpoint.authority if endpoint.host is None else host_of(x, endpoint)
    request = x.changed_request
    if headers is None and request is not None and request.headers.changed:
        headers = request.headers
    block, forwarding = x.fields.block, origin.block
    if route.stripped or origin.by_proxy:
        forwarding += _prefix_line(x)
    if headers is not None:
        authority, block, forwarding = _changed(x, headers, authority, forwarding)
    added = b"".join((forwarding, b"x-request-id: ", x.id, b"\r\n"))
    if extra:
        added += extra
    if isinstance(x.body, Body) or (x.body and route.pipeline.on_request_chunk):
        body = x.body if isinstance(x.body, Body) else Body.of(x.body)
        length = UNKNOWN if route.pipeline.on_request_chunk else body.length
        if x.fields.expects_continue and may_offer(x, body, endpoint):
            upstream.send_head(x.method, authority, path, block, added + EXPECT, length)
            Offer(x, body, endpoint, upstream, partial(_pipe, x, body, upstream))
        else:
            if body.offer is not None:
                body.offer.withdraw()  # that of an earlier attempt, whose upstream must not get the body now
            upstream.send_head(x.method, authority, path, block, added, length)
            _pipe(x, body, upstream)
    else:
        upstream.send(x.method, authority, path, block, added, x.body)
        if not upstream.stalled:
            x.arm(x.timeouts.response, "head.timeout")


def rewritten_path(x: Exchange) -> bytes:
    """Return the path after the route's `strip` or `rewrite`, which a path set by a policy replaces.

    Raises:
        GatewayError: read.bad_target.
    """
    rewrite = x.route.rewrite
    if rewrite is None or x.rewritten:
        return x.path
    try:
        return rewrite.apply(x.path, x)
    except TargetError as error:
        raise GatewayError("read.bad_target", error.detail) from None


def _pipe(x: Exchange, body: Body, upstream: Upstream) -> None:
    """Pass the body on after its head. The response's timeout runs from the body's end."""
    hooks = x.route.pipeline.on_request_chunk
    if hooks:
        transform = Transform(x, hooks, body.source, upstream)
        x.defer(transform.cancel)
        body.pipe(transform)
    elif x.replay is not None:
        x.replay.pipe(body, upstream)
    else:
        body.pipe(upstream)


def host_of(x: Exchange, endpoint: Endpoint) -> bytes:
    """Return the Host field by the service's `host:` rule: the endpoint's, the client's, or a fixed one."""
    if endpoint.host != PRESERVE:
        return endpoint.host or endpoint.authority
    return endpoint.authority if x.host is None else x.host.text


def forwarded_prefix(x: Exchange) -> tuple[bytes, bytes]:
    """Return what was stripped of the client's path by trusted proxies, and by the route."""
    own = x.route.stripped
    if own and (x.rewritten or not begins_with(x.path, own)):
        own = b""
    given = b",".join(x.fields.all(b"x-forwarded-prefix")) if x.origin.by_proxy else b""
    if not given:
        return b"", own
    try:
        # A list is of several proxies, the outermost first.
        parts = [canonical_path(part.strip(b" \t"), PathRules()).rstrip(b"/") for part in given.split(b",")]
    except TargetError:
        return b"", own
    return b"".join(parts), own


def begins_with(path: bytes, prefix: bytes) -> bool:
    """Return whether a prefix is cut off a path, of which `//` may be kept."""
    if b"//" in path:
        path = merge_slashes(path)
    return path == prefix or path.startswith(prefix + b"/")


def _prefix_line(x: Exchange) -> bytes:
    prefix = b"".join(forwarded_prefix(x))
    return b"x-forwarded-prefix: %b\r\n" % prefix if prefix and x.snapshot.forwarding.x_forwarded else b""


def _changed(x: Exchange, headers: Headers, authority: bytes, forwarding: bytes) -> tuple[bytes, bytes, bytes]:
    """Return authority, header section and forwarding fields as changed by policies.

    A field set by a policy takes precedence, even over one of the gateway's own.
    """
    kept: list[Pair] = []
    names: set[bytes] = set()
    for name, value in headers.raw:
        key = name.lower()
        if key == b"host":
            if value != x.fields.first(b"host"):
                authority = _checked_host(value)
        elif key not in CONNECTION_BOUND and key not in WRITTEN_ANEW and key != b"expect":
            kept.append((name, value))
            names.add(key)
    remaining = [line for line in forwarding.splitlines(keepends=True) if line.partition(b":")[0] not in names]
    return authority, render(kept), b"".join(remaining)


def _checked_host(value: bytes) -> bytes:
    """Check a Host that a policy has set. Raises `GatewayError` request.policy_failed."""
    try:
        return HOSTS[value].text
    except Refusal as refusal:
        raise GatewayError("request.policy_failed", log=f"a policy set Host: {refusal.detail}") from None
