"""A DNS server that is ready when it says so, and that may come back at its old port."""

from __future__ import annotations

from typing import Self

from tests.e2e.test_dns_endpoints import DnsServer


class Dnsmasq(DnsServer):
    """dnsmasq that has read its first, empty hosts file: `tell` would take that for the reading of its own."""

    def __init__(self, *options: str, ttl: int = 0, port: int | None = None) -> None:
        super().__init__(*options, ttl=ttl)
        self.port = port or self.port

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self._until(
            lambda: any(f"read {self._hosts}" in line for line in self._lines), "reads its hosts at first"
        )
        return self
