"""Where lines and events of an event stream end (WHATWG HTML 9.2.6). Bytes in, positions out.

A line ends with LF, CR or CRLF; an empty line ends an event. A byte order mark in front of everything is no part of
the first line. What stands in a line is not looked at: a gateway passes it as it came.
"""

from __future__ import annotations

BOM = b"\xef\xbb\xbf"
COMMENT = b":\n"
"""A line that clients ignore. Between two lines of an event it changes nothing."""
HEARTBEAT = b":\n\n"
"""A comment that is a block of its own, for clients that split a stream at empty lines."""

_ENDS = b"\r\n"
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n")  # the two that nearly every service writes


def is_event_stream(content_type: bytes) -> bool:
    """Tell whether a Content-Type value names an event stream, whatever its parameters and case."""
    return content_type.partition(b";")[0].strip(b" \t").lower() == b"text/event-stream"


class EventBoundaries:
    """Follows one stream, fed in pieces of any size.

    Attributes:
        begun: at least one byte has come.
        at_line_end: the last byte ends a line for certain; so does the stream's beginning. Not so a CR inside an event:
            an LF that follows would belong to it.
        at_event_end: no event is under way.
    """

    __slots__ = ("_after_cr", "_start", "at_event_end", "at_line_end", "begun")

    def __init__(self) -> None:
        self.begun = False
        self.at_line_end = self.at_event_end = True
        self._after_cr = False
        self._start: bytes | None = b""  # what may be the beginning of a byte order mark; None behind it

    def feed(self, data: bytes) -> int:
        """Take a piece, which is not empty; return how many bytes of it stand before the end of the last event."""
        self.begun = True
        if self._start is None and data.endswith(_EVENT_ENDS):
            self._after_cr = False
            self.at_line_end = self.at_event_end = True
            return len(data)
        size = len(data)
        if self._start is not None:
            data = self._behind_bom(self._start + data)
        if not data:
            return 0
        end = self._last_event_end(data)
        self._advance(data)
        return max(end + size - len(data), 0) if end else 0

    def _behind_bom(self, start: bytes) -> bytes:
        """Return what of the stream's beginning is its first line; nothing while that is not clear."""
        if len(start) < len(BOM) and BOM.startswith(start):
            self._start = start
            self.at_line_end = self.at_event_end = False
            return b""
        self._start = None
        self.at_line_end = self.at_event_end = True
        return start.removeprefix(BOM)

    def _last_event_end(self, data: bytes) -> int:
        """Return the position behind the last empty line in `data`; 0 if there is none."""
        begins_line = self.at_line_end or self._after_cr
        end = 0
        if begins_line and data[0] in _ENDS:
            if not (self._after_cr and data[0] == _LF):
                end = 2 if data.startswith(b"\r\n") else 1
            elif self.at_event_end:
                end = 1  # it belongs to the CR that has ended the event
        for pair in (b"\n\n", b"\n\r", b"\r\r"):
            if (found := data.rfind(pair)) >= 0:
                behind = found + 2
                end = max(end, behind + (data[found + 1] == _CR and data.startswith(b"\n", behind)))
        return end

    def _advance(self, data: bytes) -> None:
        """Learn where the stream stands behind `data`."""
        if data[-1] not in _ENDS:
            self._after_cr = self.at_line_end = self.at_event_end = False
            return
        begins_line, line = self.at_line_end or self._after_cr, data[: -2 if data.endswith(b"\r\n") else -1]
        if data == b"\n" and self._after_cr:
            self._after_cr = False  # the second half of a CRLF: what the first has ended is still ended
            self.at_line_end = True
            return
        self.at_event_end = line[-1] in _ENDS if line else begins_line
        self._after_cr = data[-1] == _CR
        self.at_line_end = self.at_event_end or not self._after_cr


_LF, _CR = 10, 13
