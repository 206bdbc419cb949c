"""A real Consul agent on free loopback ports, in memory only; `scripts/test` fetches the program."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import pytest

from .deadline import real_time, within
from .ports import free_ports

_FETCHED = Path(__file__).parents[2] / ".cache" / "consul" / "consul"
CONSUL = shutil.which("consul") or (str(_FETCHED) if _FETCHED.exists() else None)
NEEDS_CONSUL = pytest.mark.skipif(CONSUL is None, reason="no Consul on the PATH and none that scripts/test has fetched")
MASTER = "11111111-2222-3333-4444-555555555555"  # the token that may do everything, where there are ACLs
_ACLS = f'acl {{ enabled = true, default_policy = "deny", tokens {{ master = "{MASTER}" }} }}'


class ConsulAgent:
    """`consul agent -dev`: a server and an agent in one, which forgets everything when it ends."""

    def __init__(self, *, acls: bool = False) -> None:
        self._ports = free_ports(5)
        self._options = ("-hcl", _ACLS) if acls else ()
        self._token = MASTER if acls else ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._ports[0]}"

    async def start(self) -> None:
        """Start it, again at the same ports, and wait until it leads itself."""
        assert CONSUL is not None
        http, dns, lan, wan, server = map(str, self._ports)
        self._process = await asyncio.create_subprocess_exec(
            CONSUL, "agent", "-dev", "-bind", "127.0.0.1", "-node", "test-node", "-log-level", "err",
            "-disable-host-node-id", "-http-port", http, "-dns-port", dns, "-serf-lan-port", lan,
            "-serf-wan-port", wan, "-server-port", server, "-grpc-port", "-1", *self._options,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with within(10, "Consul serves"):
            while True:
                try:
                    # Its own node is in the catalogue only when it leads and has settled.
                    if await self.call("GET", "/v1/catalog/service/consul"):
                        return
                except (aiohttp.ClientError, AssertionError):
                    assert self._process.returncode is None, "Consul has ended"
                await real_time(0.02)

    async def kill(self) -> None:
        """End it without a good-bye."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call its HTTP API."""
        headers = {"x-consul-token": self._token} if self._token else {}
        async with (
            aiohttp.ClientSession(self.address, headers=headers) as http,
            http.request(method, path, json=body) as response,
        ):
            text = await response.text()
            assert response.status == 200, f"{method} {path}: {response.status} {text}"
            return await response.json(content_type=None) if text else None

    async def register(self, number: int, **more: Any) -> None:
        """Register instance `number` of `users`, at 10.0.0.NUMBER:8080, healthy at first."""
        check = {"CheckID": f"check-{number}", "TTL": "1h", "Status": "passing"}
        service = {
            "ID": f"users-{number}",
            "Name": "users",
            "Address": f"10.0.0.{number}",
            "Port": 8080,
            "Check": check,
        }
        await self.call("PUT", "/v1/agent/service/register", {**service, **more})

    async def deregister(self, number: int) -> None:
        await self.call("PUT", f"/v1/agent/service/deregister/users-{number}")

    async def health(self, number: int, state: str) -> None:
        """Let the check of an instance `pass`, `warn` or `fail`."""
        await self.call("PUT", f"/v1/agent/check/{state}/check-{number}")

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.kill()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()
