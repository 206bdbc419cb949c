"""An endpoint: `python -m bench.failures.service PORT JOURNAL`.

SIGUSR1 makes it slow, SIGUSR2 lets it answer 500, SIGHUP heals it. It writes the token
of each POST that it carries out to its journal, so that one carried out twice shows.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import uvloop

SLOW_SECONDS = 0.4


class Endpoint:
    """What it is like at the moment."""

    def __init__(self, port: int, journal: Path) -> None:
        self._name = str(port).encode()
        self._journal = journal.open("ab", buffering=0)
        self.delay = 0.0
        self.status = b"200 OK"

    def be(self, delay: float, status: bytes) -> None:
        """Change."""
        self.delay, self.status = delay, status

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until the connection ends."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, _ = head.split(b" ", 2)
                if method == b"POST":
                    self._journal.write(target.rpartition(b"/")[2] + b"\n")
                if self.delay:
                    await asyncio.sleep(self.delay)
                body = target + b" by " + self._name
                writer.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (self.status, len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError, RuntimeError):
            pass
        finally:
            writer.close()


async def main(port: int, journal: Path) -> None:
    """Serve until the process is ended."""
    endpoint = Endpoint(port, journal)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, endpoint.be, SLOW_SECONDS, b"200 OK")
    loop.add_signal_handler(signal.SIGUSR2, endpoint.be, 0.0, b"500 Internal Server Error")
    loop.add_signal_handler(signal.SIGHUP, endpoint.be, 0.0, b"200 OK")
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), Path(sys.argv[2])))
