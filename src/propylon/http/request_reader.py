"""Sans-I/O reader of request heads: bytes in; a head, "more" or a refusal out (RFC 9112 2.2, 3).

It has no state of a connection: each call gets all received bytes, so their segmentation makes no difference. Lines
and sections that repeat are cached for all connections.
"""

from __future__ import annotations

import re

from propylon.http.memo import Memo
from propylon.http.refusal import Refusal
from propylon.http.request_head import HeadRules, RequestFields, RequestLine

_NOT_A_METHOD = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z\r]")
_CLIENT_HELLO = b"\x16\x03"  # a handshake record of any version (RFC 8446 5.1)

EMPTY_LINE = b"\r\n"


class RequestReader:
    """Reader of request heads under one set of rules, with a cache.

    Attributes:
        lines: `lines[raw]` is the `RequestLine` of `raw`, or raises `Refusal`.
        sections: `sections[raw]` is the `RequestFields` of a header section, or raises `Refusal`.
    """

    __slots__ = ("_max_line", "_max_section", "lines", "rules", "sections")

    def __init__(self, rules: HeadRules) -> None:
        self.rules = rules
        self._max_line = rules.max_line_bytes
        self._max_section = rules.max_section_bytes
        self.lines: Memo[bytes, RequestLine] = Memo(lambda raw: RequestLine(raw, rules))
        self.sections: Memo[bytes, RequestFields] = Memo(lambda raw: RequestFields(raw, rules))

    def read(self, data: bytes) -> tuple[RequestLine, RequestFields, int] | None:
        """Parse the head at the start of `data` and return it with its size; `None` if it is incomplete.

        Raises:
            Refusal: the head is invalid; raised as early as that is certain.
        """
        line_end = data.find(b"\r\n")
        if line_end == 0:
            return self._read_after_empty_line(data)
        end = data.find(b"\r\n\r\n", line_end)
        if end < 0:
            self._check_partial(data, line_end)
            return None
        if line_end > self._max_line:
            raise self._line_too_long(data)
        if end - line_end > self._max_section:
            raise self._section_too_large()
        return self.lines[data[:line_end]], self.sections[data[line_end + 2 : end + 2]], end + 4

    def _read_after_empty_line(self, data: bytes) -> tuple[RequestLine, RequestFields, int] | None:
        """Ignore an empty line before a request, and refuse a second one (RFC 9112 2.2)."""
        data = data[2:]
        if data.startswith(EMPTY_LINE):
            raise Refusal("read.bad_request_line", "empty lines before the request line (RFC 9112 2.2)")
        head = self.read(data)
        return None if head is None else (head[0], head[1], head[2] + 2)

    def _check_partial(self, data: bytes, line_end: int) -> None:
        """Refuse an incomplete head as soon as it cannot become a valid one.

        Args:
            line_end: position of the request line's CRLF; -1 if it has not arrived.
        """
        if data.startswith(_CLIENT_HELLO):
            raise Refusal("read.bad_request_line", "this is TLS, and this port speaks plain HTTP: use http://")
        if data.count(b"\n") != data.count(b"\r\n"):
            raise Refusal("read.bad_request_line", "a line does not end in CRLF (RFC 9112 2.2)")
        if line_end < 0 and _NOT_A_METHOD.match(data):
            raise Refusal("read.bad_request_line", "this is not HTTP (RFC 9112 3)")
        if (len(data.removesuffix(b"\r")) if line_end < 0 else line_end) > self._max_line:
            raise self._line_too_long(data)
        if line_end >= 0:
            self.lines[data[:line_end]]
            if len(data) - line_end > self._max_section + 3:  # up to 3 bytes of the final CRLFs may have arrived
                raise self._section_too_large()

    def _line_too_long(self, data: bytes) -> Refusal:
        if b" " not in data[: self._max_line + 1]:
            return Refusal("read.method_too_long", f"the method is longer than {self._max_line} bytes (RFC 9112 3)")
        return Refusal("read.line_too_long", f"the request line is longer than {self._max_line} bytes")

    def _section_too_large(self) -> Refusal:
        return Refusal("read.head_too_large", f"the header section is longer than {self._max_section} bytes")
