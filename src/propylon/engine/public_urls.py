"""Step 6: URLs of a response that name an endpoint are changed to those by which the client came.

A service behind the gateway refers to itself by the address and the path that it knows, which is of no use to a
client. What is changed:

- the host, if it is that of an endpoint of the service, or the Host that was sent; the scheme with it, unless the
  service asks for https of its own accord;
- the path: the endpoint's base path is cut, a prefix that the route has stripped or replaced is put back, and before it
  what a trusted proxy has stripped. A path that has the prefix already is left: the service knows it, by its own
  settings or by X-Forwarded-Prefix.

A reference to another host, and one that is relative to the request's path, are left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.engine.request_out import forwarded_prefix, host_of
from propylon.http.host import HostError, parse_host
from propylon.http.references import REFERENCES, ReferenceParts, parts_of, with_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from propylon.engine.attempt import Attempt
    from propylon.engine.exchange import Exchange
    from propylon.http.response_head import ResponseHead

_DEFAULT_PORTS = {b"http": (b"80",), b"https": (b"443",), b"": (b"80", b"443")}


class PublicUrls:
    """The rules of a route.

    Attributes:
        replace: beginnings of references with what replaces them, before anything else.
    """

    __slots__ = ("replace",)

    def __init__(self, replace: Mapping[bytes, bytes]) -> None:
        self.replace = tuple(sorted(replace.items(), key=lambda pair: -len(pair[0])))

    def head(self, x: Exchange, attempt: Attempt, head: ResponseHead) -> ResponseHead:
        """Return the head with the URLs for the client."""
        public = _Public(self, x, attempt)
        visible = []
        for name, value in head.visible:
            key = name.lower()
            visible.append((name, with_reference(key, value, public.reference) if key in REFERENCES else value))
        return head.with_fields(visible)


class _Public:
    """What an exchange needs to translate references."""

    __slots__ = ("_authorities", "_endpoint", "_rules", "_x")

    def __init__(self, rules: PublicUrls, x: Exchange, attempt: Attempt) -> None:
        endpoint = attempt.endpoint
        self._rules = rules
        self._x = x
        self._endpoint = endpoint
        sent = [endpoint.authority, host_of(x, endpoint)]
        if x.changed_request is not None and (host := x.changed_request.headers.get("host")) is not None:
            sent.append(host.encode("latin-1"))
        if x.service is not None:
            sent += [each.authority for each in x.service.endpoints]
        self._authorities = frozenset(sent)

    def reference(self, reference: bytes) -> bytes:
        """Return a reference as the client can use it."""
        for begin, instead in self._rules.replace:
            if reference.startswith(begin) and (
                begin.endswith(b"/") or reference[len(begin) : len(begin) + 1] in (b"", b"/", b"?", b"#")
            ):
                return instead + reference[len(begin) :]
        parts = parts_of(reference)
        if parts is None or not self._is_own(parts):
            return reference
        path = self._path(parts.path)
        origin = self._x.origin
        if parts.authority is None or not origin.host:  # HTTP/1.0 without Host
            return b"/%b%b" % (path.lstrip(b"/"), parts.tail)
        host, scheme = origin.host, origin.scheme
        if parts.scheme == b"https" != scheme and not self._endpoint.url.startswith("https:"):
            host, scheme = parse_host(host).name, b"https"  # the service wants TLS: it is not on the port of http
        begin = scheme + b"://" if parts.scheme else b"//"
        return b"%b%b%b%b" % (begin, host, path, parts.tail)

    def _is_own(self, parts: ReferenceParts) -> bool:
        """Return whether a reference names an endpoint of the service, or no host."""
        if parts.authority is None:
            return True
        ports = _DEFAULT_PORTS.get(parts.scheme)
        if ports is None:
            return False
        if parts.authority in self._authorities:
            return True
        try:
            host = parse_host(parts.authority)
        except HostError:
            return False
        return (host.name if host.port in ports else host.text) in self._authorities

    def _path(self, path: bytes) -> bytes:
        """Return the path by which the client reaches a path of the service."""
        x, base = self._x, self._endpoint.base_path
        if base:
            if path != base and not path.startswith(base + b"/"):
                return path
            path = path[len(base) :]
        given, own = forwarded_prefix(x)
        prefix = given + own
        if prefix and (path == prefix or path.startswith(prefix + b"/")):
            return path
        rewrite = x.route.rewrite
        if rewrite is not None and not x.rewritten:
            restored = rewrite.restore(path)
            if restored is None:
                return path or b"/"
            path = restored
        return (given + path) or b"/"
