"""A request body in a file: in memory while it is small, on disk beyond that."""

from __future__ import annotations

import asyncio
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange

SPOOL_MEMORY_BYTES = 1024 * 1024  # a spooled body is kept in memory up to here
PIECE_BYTES = 65536


class BodyFile(SpooledTemporaryFile[bytes]):
    """The file, as a policy gets it. It belongs to the exchange: a policy may read it and cannot close it."""

    def close(self) -> None:
        """Leave it open: the service still gets it."""
        self.seek(0)

    def discard(self) -> None:
        """Close it."""
        super().close()

    def __exit__(self, *exception: object) -> None:
        self.close()


async def spool(x: Exchange, limit: int) -> BodyFile:
    """Read the whole request body into a file, which is then what the service gets.

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
    """Feeds a file into a `Body`, one piece at a time, as fast as its sink takes it."""

    def __init__(self, file: BodyFile, size: int) -> None:
        self._file = file
        self._offset = 0
        self._holds: set[object] = set()
        self._running = False
        self.body = Body(self, size)

    def body_wanted(self) -> None:
        """Begin once the sink is in place."""
        asyncio.get_running_loop().call_soon(self._feed)

    def hold(self, owner: object) -> None:
        """Stop feeding the body."""
        self._holds.add(owner)

    def release(self, owner: object) -> None:
        """Feed the body again, if nobody else holds it."""
        self._holds.discard(owner)
        if not self._holds:  # later: who releases it may be about to give the request up
            asyncio.get_running_loop().call_soon(self._feed)

    def _feed(self) -> None:
        if self._running or self._file.closed:
            return
        self._running = True
        try:
            while not self._holds and not self.body.ended and not self._file.closed:
                self._file.seek(self._offset)  # a policy may have read it meanwhile
                data = self._file.read(PIECE_BYTES)
                self._offset += len(data)
                if data:
                    self.body.feed(data)
                else:
                    self.body.end([])
        finally:
            self._running = False
