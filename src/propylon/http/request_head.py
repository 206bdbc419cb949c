"""Request heads: the request line and the header section, parsed strictly and cached (RFC 9112 2-6).

`RequestLine` and `RequestFields` are immutable and shared between exchanges. Together with a body they are the
one canonical request that router, policies, limits, log and service see.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from propylon.http.claims import ANYONE, NO_NAMES, TRUSTED, Names
from propylon.http.fields import (
    CONNECTION_BOUND,
    OPTIONS,
    ConnectionOptions,
    RequestFieldName,
    check_fields,
    content_length,
    is_chunked,
    render,
    split_fields,
    tokens,
)
from propylon.http.forwarded import via_loops
from propylon.http.host import Host, HostError, parse_host
from propylon.http.memo import Memo
from propylon.http.refusal import Refusal
from propylon.http.request_id import is_safe
from propylon.http.target import SIMPLE, PathRules, TargetError, may_be_odd, parse_target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from propylon.http.headers import Pair

_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_REFUSED_METHODS = {
    b"CONNECT": Refusal("read.connect_refused", "CONNECT asks for a tunnel, and this is no forward proxy"),
    b"TRACE": Refusal("read.method_refused", "TRACE would echo credentials (RFC 9110 9.3.8)"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRules:
    """The rules for request heads.

    Attributes:
        max_fields: fields in a header section, 100 as in Apache httpd (`LimitRequestFields`) and Node.js' order.
        aliases: action for names with `_` or `.`, which CGI-like services confuse with `-`: "refuse" (400),
            "drop" or "keep".
        claims: names that only trusted proxies may send, besides those of `claims.py`.
        paths: rules for the canonical path: those that accept the most, if they differ by route.
        paths_by_route: whether they do.
        max_line_bytes: the longest request line, without its CRLF; 8 KiB as in nginx and Apache httpd.
        max_section_bytes: the longest header section; 32 KiB as in nginx (`large_client_header_buffers`).
    """

    max_fields: int = 100
    aliases: str = "refuse"
    claims: Names = NO_NAMES
    paths: PathRules = field(default_factory=PathRules)
    paths_by_route: bool = False
    max_line_bytes: int = 8 * 1024
    max_section_bytes: int = 32 * 1024
    names: Memo[bytes, RequestFieldName] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        names = _NAMES if self.claims is NO_NAMES else _memo_of_names(self.claims)
        object.__setattr__(self, "names", names)


class RequestLine:
    """Method, target and version of a request.

    Attributes:
        plain: it is HTTP/1.1, and the target names no authority.
        odd: the rules for paths of its route have to be applied yet: they may refuse it.
    """

    __slots__ = ("authority", "method", "minor", "odd", "path", "plain", "query", "raw_target", "scheme")

    query: bytes | None
    scheme: bytes | None
    authority: bytes | None

    def __init__(self, raw: bytes, rules: HeadRules) -> None:
        parts = raw.split(b" ")
        if len(parts) != 3:
            raise Refusal("read.bad_request_line", "the request line is not 'method target version' (RFC 9112 3)")
        method, target, version = parts
        if not _METHOD.fullmatch(method):
            raise Refusal("read.bad_request_line", "the method is no token (RFC 9110 9.1)")
        if version == b"HTTP/1.1":
            self.minor = 1
        elif version == b"HTTP/1.0":
            self.minor = 0
        elif _VERSION.fullmatch(version):
            raise Refusal("read.bad_version", "this listener speaks HTTP/1.1 and HTTP/1.0")
        else:
            raise Refusal("read.bad_request_line", "the request line does not end in a version (RFC 9112 2.3)")
        self._take(method, target, rules)

    @classmethod
    def of(cls, method: bytes, target: bytes, rules: HeadRules) -> RequestLine:
        """Make a request line of its parts, for versions of HTTP without one. Raises `Refusal`."""
        if not _METHOD.fullmatch(method):
            raise Refusal("read.bad_request_line", "the method is no token (RFC 9110 9.1)")
        if b" " in target:
            raise Refusal("read.bad_request_line", "the target has a blank in it (RFC 9112 3.2)")
        self = cls.__new__(cls)
        self.minor = 1
        self._take(method, target, rules)
        return self

    def _take(self, method: bytes, target: bytes, rules: HeadRules) -> None:
        self.method, self.raw_target = method, target
        if method in _REFUSED_METHODS:
            refusal = _REFUSED_METHODS[method]
            raise Refusal(refusal.code, refusal.detail)
        simple = SIMPLE.fullmatch(target)
        if simple is None:
            self._parse(method, target, rules)
            return
        self.path, self.query = simple[1], simple[2]
        self.scheme = self.authority = None
        self.plain = self.minor == 1
        self.odd = False

    def _parse(self, method: bytes, target: bytes, rules: HeadRules) -> None:
        try:
            parsed = parse_target(method, target, rules.paths)
        except TargetError as error:
            raise Refusal(error.code, error.detail) from None
        self.path, self.query = parsed.path, parsed.query
        self.scheme, self.authority = parsed.scheme, parsed.authority
        self.plain = parsed.authority is None and self.minor == 1
        self.odd = rules.paths_by_route and may_be_odd(target)


class RequestFields:
    """A request's header section, parsed and classified.

    Attributes:
        visible: the fields a policy sees: without hop-by-hop fields and those of the gateway.
        block: `visible` as lines, without Host, Content-Length and X-Request-Id, which are regenerated.
        host: the parsed Host field; `None` if there was none.
        length: Content-Length in bytes, or -1.
        request_id: the client's X-Request-Id if it is one safe value, else empty.
        was_proxied: whether there is a Via or CDN-Loop field: the request has passed a proxy.
        from_proxy: whether it was proxied, or has a claim that only a trusted proxy may make.
        hidden: the names of fields that are present and not taken, in lower case.
        upgrade: whether the Connection field has the option that an Upgrade field needs (RFC 9110 7.8).
        websocket: whether the Upgrade field names `websocket`.
    """

    __slots__ = (
        "_fields", "_index", "_with_claims", "block", "chunked", "close", "expects_continue", "from_proxy",
        "hidden", "host", "keep_alive", "length", "request_id", "upgrade", "visible", "wants_trailers", "was_proxied",
        "websocket",
    )  # fmt: skip

    _with_claims: RequestFields

    def __init__(self, block: bytes, rules: HeadRules) -> None:
        self._take(split_fields(block, rules.names, "read.bad_field"), rules, ANYONE)

    @classmethod
    def of(cls, pairs: Iterable[Pair], rules: HeadRules) -> RequestFields:
        """Make a header section of fields given as pairs. Raises `Refusal`."""
        self = cls.__new__(cls)
        self._take(check_fields(pairs, rules.names, "read.bad_field"), rules, ANYONE)
        return self

    def with_claims(self, rules: HeadRules) -> RequestFields:
        """Return the same header section as one of a trusted proxy, whose claims are taken."""
        found: RequestFields | None = getattr(self, "_with_claims", None)  # not set at first: few sections need it
        if found is None:
            found = self._with_claims = RequestFields.__new__(RequestFields)
            found._take(self._fields, rules, TRUSTED)
        return found

    def _take(self, fields: list[tuple[RequestFieldName, bytes]], rules: HeadRules, taken: int) -> None:
        """Classify the fields; claims are taken if `taken` is TRUSTED."""
        if len(fields) > rules.max_fields:
            raise Refusal("read.too_many_fields", f"more than {rules.max_fields} header fields")
        self._fields = fields
        self.host: Host | None = None
        self.length = -1
        self.chunked = self.close = self.keep_alive = self.expects_continue = self.wants_trailers = False
        self.was_proxied = self.from_proxy = self.upgrade = self.websocket = False
        self.hidden: frozenset[bytes] = _NOTHING
        self.request_id = b""
        self._index: dict[bytes, list[bytes]] | None = None
        special: dict[bytes, list[bytes]] = {}
        visible: list[Pair] = []
        lines: list[bytes] = []
        for name, value in fields:
            if name.alias and rules.aliases != "keep":
                if rules.aliases == "refuse":
                    raise Refusal("read.bad_field", f"the header name {name.text.decode()!r} has '_' or '.' in it")
                continue
            if not name.special or (name.source and name.source == taken):
                visible.append((name.text, value))
                lines += (name.text, b": ", value, b"\r\n")
                continue
            if name.source:
                self.hidden |= {name.key}
                self.from_proxy |= name.source == TRUSTED
            special.setdefault(name.key, []).append(value)
            if name.key in WRITTEN_ANEW:
                visible.append((name.text, value))
        self.visible = tuple(visible)
        self.block = b"".join(lines)
        self._read(special)

    def _read(self, special: dict[bytes, list[bytes]]) -> None:
        """Evaluate the fields that the gateway itself uses."""
        if b"content-length" in special or b"transfer-encoding" in special:
            self._read_framing(special.get(b"content-length", []), special.get(b"transfer-encoding", []))
        hosts = special.get(b"host", [])
        if len(hosts) > 1:
            raise Refusal("read.bad_host", "more than one Host field (RFC 9112 3.2)")
        if hosts:
            self.host = HOSTS[hosts[0]]
        if len(special) == 1 and hosts:
            return
        options = special.get(b"connection")
        if options is not None:
            self._read_connection(OPTIONS[b",".join(options)], special)
        for expectation in special.get(b"expect", ()):
            if expectation.lower() != b"100-continue":
                raise Refusal("read.expectation", "the only expectation understood is 100-continue (RFC 9110 10.1.1)")
            self.expects_continue = True
        self.wants_trailers = any(b"trailers" in tokens(value) for value in special.get(b"te", ()))
        self.websocket = any(b"websocket" in tokens(value) for value in special.get(b"upgrade", ()))
        if b"via" in special or b"cdn-loop" in special:
            self.was_proxied = self.from_proxy = True
        ids = special.get(b"x-request-id", ())
        if len(ids) == 1 and is_safe(ids[0]):
            self.request_id = ids[0]

    def _read_framing(self, lengths: list[bytes], codings: list[bytes]) -> None:
        """Determine the body's length; ambiguous framing is request smuggling (RFC 9112 6.1, 6.3)."""
        if codings:
            if lengths:
                raise Refusal("read.bad_framing", "both Content-Length and Transfer-Encoding (RFC 9112 6.1)")
            if len(codings) > 1:
                raise Refusal("read.bad_framing", "more than one Transfer-Encoding field (RFC 9112 6.1)")
            self.chunked = is_chunked(codings[0], "read.bad_framing", "read.unknown_coding")
        else:
            if len(lengths) > 1:
                raise Refusal("read.bad_framing", "more than one Content-Length field (RFC 9110 8.6)")
            self.length = content_length(lengths[0], "read.bad_framing")

    def _read_connection(self, options: ConnectionOptions, special: dict[bytes, list[bytes]]) -> None:
        """Evaluate Connection, and remove the fields that it nominates."""
        self.close, self.keep_alive = options.close, options.keep_alive
        self.upgrade = options.upgrade
        nominated = options.nominated
        if nominated and not nominated.isdisjoint(name.lower() for name, _ in self.visible):
            self._fields = [field for field in self._fields if field[0].key not in nominated]
            self.visible = tuple(pair for pair in self.visible if pair[0].lower() not in nominated)
            self.block = render(pair for pair in self.visible if pair[0].lower() not in WRITTEN_ANEW)

    def has_passed(self, name: bytes) -> bool:
        """Return whether the request has passed the gateway `name` before (RFC 9110 7.6.3, RFC 8586)."""
        if via_loops(self.all(b"via"), name):
            return True
        hops = [hop.partition(b";")[0].strip() for value in self.all(b"cdn-loop") for hop in tokens(value)]
        return name.lower() in hops

    def all(self, name: bytes) -> list[bytes]:
        """Return every value of the field `name` (lower case)."""
        if self._index is None:
            self._index = {}
            for field_name, value in self._fields:
                self._index.setdefault(field_name.key, []).append(value)
        return self._index.get(name, [])

    def first(self, name: bytes) -> bytes | None:
        """Return the first value of the field `name` (lower case)."""
        values = self.all(name)
        return values[0] if values else None


_NOTHING: frozenset[bytes] = frozenset()
WRITTEN_ANEW = frozenset((b"host", b"content-length", b"x-request-id"))
"""Visible fields that the gateway regenerates."""


RESERVED = CONNECTION_BOUND | WRITTEN_ANEW | {b"expect", b"cdn-loop"}
"""Fields that the gateway itself evaluates, from anyone."""


def _memo_of_names(claims: Names) -> Memo[bytes, RequestFieldName]:
    return Memo(lambda text: RequestFieldName(text, RESERVED, "read.bad_field", claims))


_NAMES = _memo_of_names(NO_NAMES)


def _host(value: bytes) -> Host:
    try:
        return parse_host(value)
    except HostError as error:
        raise Refusal("read.bad_host", str(error)) from None


HOSTS: Memo[bytes, Host] = Memo(_host)
"""`HOSTS[value]` is the parsed Host field or authority `value`; it raises `Refusal` read.bad_host."""


def host_of(line: RequestLine, fields: RequestFields) -> Host | None:
    """Check a request line against its header section; return the host of the request.

    Raises:
        Refusal: the two are inconsistent.
    """
    if line.minor == 0:
        if fields.chunked:
            raise Refusal("read.bad_framing", "Transfer-Encoding in an HTTP/1.0 request (RFC 9112 6.1)")
        if fields.websocket:
            raise Refusal("upgrade.bad_handshake", "a WebSocket needs HTTP/1.1 (RFC 6455 4.1)")
    elif fields.host is None:
        raise Refusal("read.bad_host", "no Host field in an HTTP/1.1 request (RFC 9112 3.2)")
    if line.authority is None:
        return fields.host
    host = HOSTS[line.authority]
    if fields.host is not None and host != fields.host:
        raise Refusal("read.bad_host", "the target's authority and Host differ (RFC 9112 3.2.2)")
    return host
