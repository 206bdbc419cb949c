"""A DNS server on loopback that answers as it is told for each record type: with addresses, a code, or not at all."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from types import TracebackType
from typing import Self

A, AAAA = 1, 28
SERVFAIL = 2


class HalfDns(asyncio.DatagramProtocol):
    """Answers every name by `answers`: a list of addresses, a response code, or None for silence.

    Attributes:
        answers: by record type.
        asked: the record types of the queries so far.
    """

    def __init__(self, a: list[str] | int | None, aaaa: list[str] | int | None, ttl: int = 0) -> None:
        self.answers = {A: a, AAAA: aaaa}
        self.asked: list[int] = []
        self._ttl = ttl

    @property
    def address(self) -> str:
        """As it stands in `resolver` and in `dns: {servers}`."""
        return f"127.0.0.1:{self._transport.get_extra_info('sockname')[1]}"

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(0, 12)
        kind = struct.unpack("!H", data[end + 1 : end + 3])[0]
        self.asked.append(kind)
        answer = self.answers.get(kind, [])
        if answer is None:
            return
        found = [ipaddress.ip_address(text).packed for text in answer] if isinstance(answer, list) else []
        code = answer if isinstance(answer, int) else 0
        head = data[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(found), 0, 0)
        records = b"".join(
            struct.pack("!HHHIH", 0xC00C, kind, 1, self._ttl, len(packed)) + packed for packed in found
        )  # fmt: skip
        self._transport.sendto(head + data[12 : end + 5] + records, addr)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()
