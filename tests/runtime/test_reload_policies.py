"""A reload keeps policies that stay, starts new ones and closes those that are gone; one that fails does nothing."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from propylon import Gateway
from propylon.build.errors import BuildError
from propylon.config.problems import ConfigError
from propylon.inbound.listener import ListenError
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import settle, until

COUNT = """
from count_helper import SIGN
from propylon import Response

class Count:
    def __init__(self, log, name="", scope=None):
        self.log, self.name, self.number = log, name, 0
        assert scope.clock() > 0

    def write(self, what):
        with open(self.log, "a") as file:
            file.write(f"{what};")

    async def start(self):
        self.write(f"start {self.name}")

    def close(self):
        self.write(f"close {self.name}")

    def on_request(self, x):
        self.number += 1
        return Response(200, body=f"{SIGN}{self.number}")
"""


class Site:
    """A configuration with counting policies, and what they have written."""

    def __init__(self, folder: Path) -> None:
        self.file, self.folder = folder / "gateway.yaml", folder
        self.module("count_policy", COUNT)
        self.module("count_helper", "SIGN = '#'\n")
        (folder / "log").touch()

    def module(self, name: str, text: str) -> None:
        (self.folder / f"{name}.py").write_text(text)

    def write(self, *names: str, more: str = "", listen: str = "127.0.0.1:0") -> None:
        use = "use: 'count_policy:Count'"
        entries = [f"{{python: {{{use}, with: {{log: {self.folder}/log, name: {name}}}}}}}" for name in names]
        self.file.write_text(
            f"listen: {listen}\n{more}\npolicies: [{', '.join(entries)}]\nroutes: [{{path: /*, respond: none}}]\n"
        )

    @property
    def seen(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def body(client: RawClient) -> str:
    return (await client.ask(request_bytes())).body.decode()


async def test_a_policy_goes_on_while_neither_its_settings_nor_any_code_changes(site: Site) -> None:
    site.write("a")
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        assert await body(client) == "#1"
        site.write("a", more="log: {level: error}")
        await gateway.reload()
        assert await body(client) == "#2"
        site.write("b")
        await gateway.reload()
        assert await body(client) == "#1"
        await until(lambda: site.seen == "start a;start b;close a;", "the old one is closed")
    assert site.seen == "start a;start b;close a;close b;"


@pytest.mark.parametrize(
    ("name", "code"), [("count_policy", f"{COUNT}\n# changed\n"), ("count_helper", "SIGN = '!'\n")]
)
async def test_changed_code_makes_a_new_policy_also_that_of_a_module_it_imports(
    site: Site, name: str, code: str
) -> None:
    site.write("a")
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        assert await body(client) == "#1"
        await gateway.reload()
        assert await body(client) == "#2"
        site.module(name, code)
        await gateway.reload()
        assert (await body(client))[1:] == "1"
        await gateway.reload()
        assert (await body(client))[1:] == "2"
        await until(lambda: site.seen == "start a;start a;close a;", "the old one is closed")


async def test_a_module_that_was_imported_late_counts_too(site: Site) -> None:
    site.module(
        "count_policy", COUNT.replace("        self.number += 1", "        import count_late\n        self.number += 1")
    )
    site.module("count_late", "")
    site.write("a")
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        assert [await body(client), await body(client)] == ["#1", "#2"]
        await gateway.reload()
        assert await body(client) == "#3"
        site.module("count_late", "# changed")
        await gateway.reload()
        assert await body(client) == "#1"


async def test_one_that_is_gone_is_closed_behind_the_exchanges_under_way(site: Site) -> None:
    waits = "    async def on_done(self, x):\n        import count_gate\n        await count_gate.GATE.wait()\n"
    site.module("count_policy", f"{COUNT}\n{waits}        self.write('done')\n")
    site.module("count_gate", "import asyncio\nGATE = asyncio.Event()\n")
    site.write("a")
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        assert await body(client) == "#1"
        import count_gate  # type: ignore[import-not-found]

        site.write("b")
        await gateway.reload()
        await settle()
        assert site.seen == "start a;start b;"
        count_gate.GATE.set()
        await until(lambda: site.seen == "start a;start b;done;close a;", "the old one is closed")


async def test_a_reload_that_fails_starts_and_closes_nothing(site: Site) -> None:
    site.write("a")
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        assert await body(client) == "#1"
        site.write("b", more="nothing: 1")
        with pytest.raises(ConfigError):
            await gateway.reload()
        site.write("b", more="services: {s: {endpoints: ['http://10.0.0.1:1'], policies: [{python: 'absent:x'}]}}")
        with pytest.raises(BuildError):
            await gateway.reload()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            site.write("b", listen=f"127.0.0.1:{taken.getsockname()[1]}")
            with pytest.raises(ListenError):
                await gateway.reload()
        await settle()
        assert site.seen == "start a;"
        assert await body(client) == "#2"


async def test_clients_that_came_by_an_address_of_a_reload_that_failed_are_let_go(site: Site) -> None:
    """New addresses are open while policies start."""
    starts = "    async def start(self):\n        import count_gate\n        self.write('starts')\n"
    fails = "        await count_gate.GATE.wait()\n        raise ValueError\n"
    site.module("count_gate", "import asyncio\nGATE = asyncio.Event()\n")
    site.write("a")
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        site.module("count_policy", f"{COUNT}\n{starts}{fails}")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        site.write("b", listen=f"[127.0.0.1:0, 127.0.0.1:{port}]")
        reload = asyncio.create_task(gateway.reload())
        await until(lambda: "starts" in site.seen, "the policy starts")
        import count_gate

        async with RawClient(port) as other:
            assert await body(other) == "#1"
            count_gate.GATE.set()
            with pytest.raises(BuildError):
                await reload
            await other.assert_closed()
        assert await body(client) == "#2"


async def test_a_policy_that_cannot_be_started_is_told_with_its_line_and_changes_nothing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.write("a")
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        port = gateway.port
        assert await body(client) == "#1"
        site.module("count_broken", "class Broken:\n    def on_request(self, x): pass\n    def start(self): 1 / 0\n")
        site.write("b")
        text = site.file.read_text().replace("policies: [", "policies: [{python: 'count_broken:Broken'}, ")
        site.file.write_text(text)
        with pytest.raises(BuildError, match="division by zero"):
            await gateway.reload()
        assert f"{site.file}:3:12: policies.0: policy python: division by zero" in caplog.text
        assert gateway.port == port
        assert await body(client) == "#2"
        assert site.seen == "start a;"


async def test_a_gateway_whose_policy_cannot_be_started_does_not_start(site: Site) -> None:
    site.module(
        "count_policy", COUNT.replace("async def start(self):", "async def start(self):\n        raise OSError('no')")
    )
    site.write("a")
    gateway = Gateway.load(site.file)
    with pytest.raises(BuildError, match=r"^policies\.0: policy python: no$"):
        await gateway.start()
    assert gateway.addresses == []
    assert site.seen == ""


async def test_a_policy_may_ask_services_from_a_task_that_it_begins_as_it_starts(site: Site) -> None:
    code = """
import asyncio
from propylon import Response, Subrequest

ANSWERS = []

class Keys:
    def __init__(self, scope):
        self.scope, self.service = scope, scope.service("keys")

    async def start(self):
        self.scope.task(self.fetch())
        await asyncio.sleep(0)

    async def fetch(self):
        answer = await self.service.ask(Subrequest(b"GET", b"/keys"), timeout=5, limit=100)
        ANSWERS.append((answer.status, answer.body))

    def on_request(self, x):
        pass
"""
    site.module("keys_policy", code)
    async with Gateway(listen="127.0.0.1:0").route("/keys", respond="k1") as keys:
        site.file.write_text(
            f"listen: 127.0.0.1:0\nservices: {{keys: {{endpoints: ['{keys.url}']}}}}\n"
            "policies: [{python: 'keys_policy:Keys'}]\nroutes: [{path: /*, respond: x}]\n"
        )
        async with Gateway.load(site.file) as gateway:
            gateway.snapshot()
            import keys_policy  # type: ignore[import-not-found]

            await until(lambda: keys_policy.ANSWERS == [(200, b"k1")], "the keys have come")
