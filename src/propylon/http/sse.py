"""Boundaries of lines and events in an event stream (WHATWG HTML 9.2.6). Bytes in, positions out.

A line ends with LF, CR or CRLF; an empty line ends an event. A byte order mark at the start is not part of the first
line. The content of lines is not parsed: a gateway passes it on unchanged.
"""

from __future__ import annotations

BOM = b"\xef\xbb\xbf"
COMMENT = b":\n"
"""A line that clients ignore, also between two lines of an event."""
HEARTBEAT = b":\n\n"
"""A comment that forms a separate block, for clients that split a stream at empty lines."""

_ENDS = b"\r\n"
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n")  # the common ones


def is_event_stream(content_type: bytes) -> bool:
    """Return whether a Content-Type value is that of an event stream, with any parameters and case."""
    return content_type.partition(b";")[0].strip(b" \t").lower() == b"text/event-stream"


class EventBoundaries:
    """Track the boundaries of one stream, fed in pieces of any size.

    Attributes:
        begun: at least one byte was received.
        at_line_end: the stream is at its start, or the last byte certainly ends a line. Not after a CR inside an event:
            an LF that follows would belong to it.
        at_event_end: no event is incomplete.
    """

    __slots__ = ("_after_cr", "_start", "at_event_end", "at_line_end", "begun")

    def __init__(self) -> None:
        self.begun = False
        self.at_line_end = self.at_event_end = True
        self._after_cr = False
        self._start: bytes | None = b""  # a possible prefix of a byte order mark; None after it

    def feed(self, data: bytes) -> int:
        """Process a non-empty piece; return how many bytes of it precede the end of the last event."""
        self.begun = True
        if self._start is None and data.endswith(_EVENT_ENDS):
            self._after_cr = False
            self.at_line_end = self.at_event_end = True
            return len(data)
        size = len(data)
        if self._start is not None:
            data = self._without_bom(self._start + data)
        if not data:
            return 0
        end = self._last_event_end(data)
        self._advance(data)
        return max(end + size - len(data), 0) if end else 0

    def _without_bom(self, start: bytes) -> bytes:
        """Return the start of the stream without a byte order mark; nothing while that is undecided."""
        if len(start) < len(BOM) and BOM.startswith(start):
            self._start = start
            self.at_line_end = self.at_event_end = False
            return b""
        self._start = None
        self.at_line_end = self.at_event_end = True
        return start.removeprefix(BOM)

    def _last_event_end(self, data: bytes) -> int:
        """Return the position after the last empty line in `data`; 0 if there is none."""
        begins_line = self.at_line_end or self._after_cr
        end = 0
        if begins_line and data[0] in _ENDS:
            if not (self._after_cr and data[0] == _LF):
                end = 2 if data.startswith(b"\r\n") else 1
            elif self.at_event_end:
                end = 1  # it belongs to the CR that ended the event
        for pair in (b"\n\n", b"\n\r", b"\r\r"):
            if (found := data.rfind(pair)) >= 0:
                behind = found + 2
                end = max(end, behind + (data[found + 1] == _CR and data.startswith(b"\n", behind)))
        return end

    def _advance(self, data: bytes) -> None:
        """Update the state of the stream after `data`."""
        if data[-1] not in _ENDS:
            self._after_cr = self.at_line_end = self.at_event_end = False
            return
        begins_line, line = self.at_line_end or self._after_cr, data[: -2 if data.endswith(b"\r\n") else -1]
        if data == b"\n" and self._after_cr:
            self._after_cr = False  # the LF of a split CRLF: the line or event stays ended
            self.at_line_end = True
            return
        self.at_event_end = line[-1] in _ENDS if line else begins_line
        self._after_cr = data[-1] == _CR
        self.at_line_end = self.at_event_end or not self._after_cr


_LF, _CR = 10, 13
