"""An independent reader of HTTP/1.1 messages: h11 for the meaning, and stricter checks of the bytes than h11 makes.

h11 forgives bare LF line ends and chunk extensions; a gateway must never send them (RFC 9112 2.2, 7.1.1). So every head
and every chunked body is also checked byte by byte here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import h11

Fields = list[tuple[bytes, bytes]]
MAX_HEAD = 4 * 1024 * 1024  # bytes h11 may hold of an unfinished event; the limits under test are far below
CHUNK_LINE = re.compile(rb"[0-9A-Fa-f]{1,16}\Z")
FIELD_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[ \t]?[^\x00-\x08\x0a-\x1f\x7f]*\Z")


@dataclass(slots=True)
class Message:
    """One request as an upstream received it."""

    method: bytes
    target: bytes
    version: bytes
    headers: Fields
    body: bytearray = field(default_factory=bytearray)
    trailers: Fields = field(default_factory=list)
    head: bytes = b""
    complete: bool = False

    def all(self, name: str) -> list[bytes]:
        """Every value of a header, in order."""
        return values_of(self.headers, name)

    def header(self, name: str) -> str | None:
        """The one value of a header, None when absent; a header that came twice fails the test."""
        found = self.all(name)
        assert len(found) < 2, f"{name} came {len(found)} times: {found}"
        return found[0].decode("latin-1") if found else None


def values_of(headers: Fields, name: str) -> list[bytes]:
    """Every value of the header `name` (any case), in order."""
    wanted = name.lower().encode()
    return [value for key, value in headers if key.lower() == wanted]


class RequestOracle:
    """Reads a byte stream as HTTP/1.1 requests; `error` says what was wrong with it, None while it is faultless."""

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self.error: str | None = None
        self._raw = bytearray()
        self._parser = _server_parser()

    def feed(self, data: bytes) -> None:
        """Take the next bytes, split anywhere."""
        if self.error is None:
            self._raw += data
            self._parser.receive_data(data)
            try:
                self._drain()
            except h11.RemoteProtocolError as problem:
                self.error = f"h11 refuses it: {problem}; bytes {bytes(self._raw[:300])!r}"

    @property
    def complete(self) -> list[Message]:
        """The requests that arrived whole."""
        return [request for request in self.requests if request.complete]

    def _drain(self) -> None:
        while self.error is None:
            event = self._parser.next_event()
            if isinstance(event, h11.Request):
                self._start(event)
            elif isinstance(event, h11.Data):
                self.requests[-1].body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._finish(event)
            else:
                return

    def _start(self, event: h11.Request) -> None:
        head = bytes(self._raw.partition(b"\r\n\r\n")[0])
        headers = fields_of(head)
        self.requests.append(Message(event.method, event.target, event.http_version, headers, head=head))
        self.error = faults_of_head(head) or faults_of_framing(headers)

    def _finish(self, event: h11.EndOfMessage) -> None:
        request = self.requests[-1]
        rest = self._parser.trailing_data[0]
        body = bytes(self._raw[len(request.head) + 4 : len(self._raw) - len(rest)])
        request.trailers = list(event.headers)
        request.complete = True
        if values_of(request.headers, "transfer-encoding"):
            self.error = faults_of_chunks(body)
        self._raw = bytearray(rest)
        self._parser = _server_parser()
        if rest:
            self._parser.receive_data(rest)


def _server_parser() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)


def fields_of(head: bytes) -> Fields:
    """The fields of a head as they stand in the bytes: h11 merges and lower-cases some of them."""
    lines = head.split(b"\r\n")[1:]
    return [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]


def faults_of_head(head: bytes) -> str | None:
    """What is wrong with the bytes of a start line and its fields (RFC 9112 2.2, 3, 5), None when nothing is."""
    lines = head.split(b"\r\n")
    if b"\r" in b"".join(lines) or b"\n" in b"".join(lines):
        return f"a line ends in something else than CRLF: {head!r}"
    for line in lines[1:]:
        if not FIELD_LINE.match(line):
            return f"not a clean field line: {line!r}"
    return None


def faults_of_framing(headers: Fields) -> str | None:
    """More than one framing header, or a transfer coding that is not exactly `chunked` (RFC 9112 6)."""
    lengths, codings = values_of(headers, "content-length"), values_of(headers, "transfer-encoding")
    if len(lengths) + len(codings) > 1:
        return f"several framing headers: content-length {lengths}, transfer-encoding {codings}"
    if codings and codings != [b"chunked"]:
        return f"transfer-encoding is not exactly chunked: {codings}"
    if lengths and not re.fullmatch(rb"0|[1-9][0-9]*", lengths[0]):
        return f"content-length is not canonical: {lengths}"
    return None


def faults_of_chunks(body: bytes) -> str | None:
    """What is wrong with a whole chunked body: extensions, odd sizes, line ends (RFC 9112 7.1)."""
    rest = body
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end or not CHUNK_LINE.match(line):
            return f"not a plain chunk size line: {line[:80]!r}"
        size = int(line, 16)
        if size == 0:
            return None if rest.endswith(b"\r\n") else f"the last chunk is not ended: {rest!r}"
        if rest[size : size + 2] != b"\r\n":
            return f"chunk of {size} bytes is not followed by CRLF"
        rest = rest[size + 2 :]
