"""A WebSocket message, for `on_message`."""

from __future__ import annotations


class Message:
    """A WebSocket message; the other side gets it with all changes made here.

    Attributes:
        dropped: it is not passed on.
    """

    __slots__ = ("_data", "dropped")

    def __init__(self, data: str | bytes) -> None:
        self._data = data
        self.dropped = False

    @property
    def data(self) -> str | bytes:
        """The content: `str` for a text message, `bytes` for a binary one.

        Setting raises `TypeError` for other types, and `ValueError` for text that is not UTF-8 (a lone surrogate).
        """
        return self._data

    @data.setter
    def data(self, value: str | bytes) -> None:
        if not isinstance(value, str | bytes):
            raise TypeError(f"a message is text or bytes, not {value!r}")
        if isinstance(value, str):
            value.encode()
        self._data = value

    def drop(self) -> None:
        """Do not pass the message on."""
        self.dropped = True

    def __repr__(self) -> str:
        return f"<Message {'text' if isinstance(self._data, str) else 'binary'} of {len(self._data)}>"
