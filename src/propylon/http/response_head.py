"""Response heads from endpoints, parsed strictly and cached (RFC 9112 4-6).

A head is rendered once for the client: `block` has every end-to-end field as lines, so a head that no
policy changes costs nothing to forward. Violations are the endpoint's fault: `Refusal` head.bad.
"""

from __future__ import annotations

import re
from copy import copy
from typing import TYPE_CHECKING, NamedTuple

from propylon.http.fields import (
    CONNECTION_BOUND,
    OPTIONS,
    FieldName,
    check_fields,
    content_length,
    is_chunked,
    render,
    split_fields,
    tokens,
)
from propylon.http.memo import Memo
from propylon.http.phrases import PHRASES
from propylon.http.references import REFERENCES
from propylon.http.refusal import Refusal
from propylon.http.sse import is_event_stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from propylon.http.headers import Pair

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
_PARAMETER = re.compile(rb"(?:^|[,;])[ \t]*(timeout|max)=\"?([0-9]{1,9})\"?[ \t]*(?=[,;]|$)")
_SPECIAL = CONNECTION_BOUND | {b"x-request-id", b"content-length"}
# RFC 9112 5.1: a proxy removes white space before the colon in a response, and refuses it in a request.
_EVALUATED = REFERENCES | {b"date", b"content-type", b"content-encoding"}
_EVENT_STREAMS: Memo[bytes, bool] = Memo(is_event_stream)
_NAMES: Memo[bytes, FieldName] = Memo(lambda text: FieldName(text.rstrip(b" \t"), _SPECIAL, "head.bad"))


def _status(line: bytes) -> tuple[int, int, bytes | None, bool]:
    """Split a status line into minor version, status, and the reason phrase, `None` for the registered one.

    The last item is whether a response of the status may have a body.
    """
    match = _STATUS_LINE.fullmatch(line)
    if not match:
        raise Refusal("head.bad", "the status line is malformed (RFC 9112 4)")
    minor, status, phrase = int(match[1]), int(match[2]), match[3] or b""
    return minor, status, None if phrase == PHRASES.get(status) else phrase, _allows_body(status)


def _allows_body(status: int) -> bool:
    """RFC 9112 6.3, rule 1."""
    return status >= 200 and status not in (204, 304)


_STATUSES: Memo[bytes, tuple[int, int, bytes | None, bool]] = Memo(_status)
MAX_FIELDS = 200  # twice the limit for clients: endpoints are trusted, yet a broken one must not exhaust memory


class OwnHead(NamedTuple):
    """The head of a response that the gateway generates or changes.

    Attributes:
        status: 200 to 599, or 101.
        block: the header section as lines, each with its CRLF, without framing fields.
        reason: the reason phrase of HTTP/1.1, if it is not the registered one of the status.
    """

    status: int
    block: bytes
    reason: bytes | None = None


class ResponseHead:
    """The status line and header section of a response.

    Attributes:
        status: 100 to 599.
        reason: the reason phrase, if it is not the registered one of the status (RFC 9110 15.1); only HTTP/1.1 has one.
        visible: the fields a policy sees and a client gets: without hop-by-hop fields.
        block: `visible` as lines.
        length: Content-Length in bytes, or -1.
        reusable: whether the connection may be reused (RFC 9112 9.3).
        idle_limit: seconds for which the endpoint keeps an idle connection, if a Keep-Alive field has them.
        switches: whether it is a 101 to the WebSocket protocol.
        has_date: whether it has a Date field (RFC 9110 6.6.1).
        event_stream: whether the content is an event stream.
        encoded: whether the content is compressed (RFC 9110 8.4).
        refers: whether it has a field that refers to a URL (`references.py`).
    """

    __slots__ = (
        "_allows_body", "block", "chunked", "encoded", "event_stream", "has_date", "idle_limit", "length", "minor",
        "reason", "refers", "reusable", "status", "switches", "visible",
    )  # fmt: skip

    def __init__(self, raw: bytes) -> None:
        first, _, block = raw.partition(b"\r\n")
        self.minor, self.status, self.reason, self._allows_body = _STATUSES[first]
        self._take(split_fields(block, _NAMES, "head.bad"))

    @classmethod
    def of(cls, status: int, pairs: Iterable[Pair]) -> ResponseHead:
        """Make a head of a status and fields given as pairs. Raises `Refusal`."""
        self = cls.__new__(cls)
        self.minor, self.status, self.reason, self._allows_body = 1, status, None, _allows_body(status)
        self._take(check_fields(pairs, _NAMES, "head.bad"))
        return self

    def _take(self, fields: list[tuple[FieldName, bytes]]) -> None:
        if len(fields) > MAX_FIELDS:
            raise Refusal("head.bad", f"more than {MAX_FIELDS} header fields")
        self.length = -1
        self.reusable = self.minor == 1
        self.idle_limit: float | None = None
        self.chunked = self.switches = self.has_date = self.event_stream = self.encoded = self.refers = False
        special: dict[bytes, list[bytes]] = {}
        visible: list[Pair] = []
        lines: list[bytes] = []
        for name, value in fields:
            if name.special:
                special.setdefault(name.key, []).append(value)
            else:
                visible.append((name.text, value))
                lines += (name.text, b": ", value, b"\r\n")
                if name.key in _EVALUATED:
                    self._evaluate(name.key, value)
        if special:
            self._read(special, visible, lines)
        self.visible = tuple(visible)
        self.block = b"".join(lines)

    def _evaluate(self, key: bytes, value: bytes) -> None:
        """Record properties of the content that the gateway uses."""
        if key == b"date":
            self.has_date = True
        elif key == b"content-type":
            self.event_stream = _EVENT_STREAMS[value]
        elif key == b"content-encoding":
            self.encoded = True
        else:
            self.refers = True

    def with_fields(self, visible: list[Pair]) -> ResponseHead:
        """Return a copy with other values of its visible fields; those of framing are the same."""
        made = copy(self)
        made.visible = tuple(visible)
        made.block = render(visible)
        return made

    def _read(self, special: dict[bytes, list[bytes]], visible: list[Pair], lines: list[bytes]) -> None:
        """Evaluate the fields that the gateway itself uses, and complete the section for the client."""
        self._read_framing(special.get(b"content-length", []), special.get(b"transfer-encoding", []))
        if b"connection" in special:
            options = OPTIONS[b",".join(special[b"connection"])]
            self.reusable = not options.close if self.minor else options.keep_alive
            if self.status == 101:
                upgrade = [token for value in special.get(b"upgrade", ()) for token in tokens(value)]
                self.switches = options.upgrade and upgrade == [b"websocket"]
            if options.nominated and not options.nominated.isdisjoint(name.lower() for name, _ in visible):
                visible[:] = [pair for pair in visible if pair[0].lower() not in options.nominated]
                lines[:] = [render(visible)]
        if b"keep-alive" in special:
            self._read_keep_alive(b",".join(special[b"keep-alive"]))
        if self.length >= 0 and self.status >= 200 and self.status != 204:  # RFC 9110 8.6
            length = b"%d" % self.length
            visible.append((b"content-length", length))
            lines += (b"content-length: ", length, b"\r\n")

    def _read_keep_alive(self, value: bytes) -> None:
        """Evaluate `timeout=N, max=M` (draft-thomson-hybi-http-timeout); what is no number is ignored."""
        parameters = dict(_PARAMETER.findall(value.lower()))
        if b"timeout" in parameters:
            self.idle_limit = float(parameters[b"timeout"])
        if not int(parameters.get(b"max", b"1")):  # requests that may still follow
            self.reusable = False

    def _read_framing(self, lengths: list[bytes], codings: list[bytes]) -> None:
        """Determine the body's length; ambiguous framing would desynchronise the connection (RFC 9112 6.3)."""
        if codings:
            if lengths or len(codings) > 1 or self.minor == 0:
                raise Refusal("head.bad", "ambiguous framing: Transfer-Encoding and something else (RFC 9112 6.1)")
            self.chunked = is_chunked(codings[0], "head.bad", "head.bad")
        elif lengths:
            if len(lengths) > 1:
                raise Refusal("head.bad", "more than one Content-Length field (RFC 9110 8.6)")
            self.length = content_length(lengths[0], "head.bad")

    def first(self, name: bytes) -> bytes | None:
        """Return the first value of a field by its lower-case name."""
        return next((value for key, value in self.visible if key.lower() == name), None)

    def has_body(self, method: bytes) -> bool:
        """Return whether a body follows the head, given the request's method (RFC 9112 6.3, rules 1 and 2)."""
        return self._allows_body and self.length != 0 and method != b"HEAD"
