"""A request body in a file: in memory up to a size, on disk beyond it."""

from __future__ import annotations

import asyncio
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange

SPOOL_MEMORY_BYTES = 1024 * 1024  # a larger body goes to disk
PIECE_BYTES = 65536


class BodyFile(SpooledTemporaryFile[bytes]):
    """The file for a policy, which may read it. The exchange owns it: `close` only rewinds it."""

    def close(self) -> None:
        """Rewind the file, and keep it open for the service."""
        self.seek(0)

    def discard(self) -> None:
        """Close the file."""
        super().close()

    def __exit__(self, *exception: object) -> None:
        self.close()


async def spool(x: Exchange, limit: int) -> BodyFile:
    """Read the whole request body into a file, from which the service gets it.

    Raises:
        GatewayError: request.body_too_large beyond `limit` bytes.
    """
    had_body = x.body is not None
    body = x.body if isinstance(x.body, Body) else Body.of(x.body or b"")
    file = BodyFile(max_size=SPOOL_MEMORY_BYTES)
    x.defer(file.discard)
    while data := await body.read():
        if file.tell() + len(data) > limit:
            raise GatewayError("request.body_too_large", f"the body is larger than {limit} bytes")
        file.write(data)
    size = file.tell()
    file.seek(0)
    if had_body:
        x.body = FileSource(file, size).body
    return file


class FileSource:
    """Feeds a file into a `Body`, piece by piece, while no owner holds it."""

    def __init__(self, file: BodyFile, size: int) -> None:
        self._file = file
        self._offset = 0
        self._holds: set[object] = set()
        self._running = False
        self.body = Body(self, size)

    def body_wanted(self) -> None:
        """Start in the next turn, when the sink is set."""
        asyncio.get_running_loop().call_soon(self._feed)

    def hold(self, owner: object) -> None:
        """Stop feeding the body."""
        self._holds.add(owner)

    def release(self, owner: object) -> None:
        """Resume feeding the body, if no other owner holds it."""
        self._holds.discard(owner)
        if not self._holds:  # in the next turn: the caller may be about to end the attempt
            asyncio.get_running_loop().call_soon(self._feed)

    def _feed(self) -> None:
        if self._running or self._file.closed:
            return
        self._running = True
        try:
            while not self._holds and not self.body.ended and not self._file.closed:
                self._file.seek(self._offset)  # a policy may have moved the position
                data = self._file.read(PIECE_BYTES)
                self._offset += len(data)
                if data:
                    self.body.feed(data)
                else:
                    self.body.end([])
        finally:
            self._running = False
