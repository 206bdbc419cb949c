"""`Gateway`: what a Python program builds, and what a file loads into."""

from __future__ import annotations

import gc
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from propylon import Gateway, Response
from propylon.config.load import Loaded, validate
from propylon.config.problems import ConfigError
from propylon.inbound.listener import ListenError
from tests.support.client import RawClient, request_bytes


async def reply(gateway: Gateway, path: bytes = b"/x") -> Any:
    async with RawClient(gateway.port) as client:
        await client.send(request_bytes(path))
        return await client.reply()


def ready() -> Gateway:
    return Gateway(listen="127.0.0.1:0").route("/*", respond="ok")


# building


def test_routes_services_and_policies_become_the_configuration() -> None:
    gateway = Gateway(trusted_proxies=["10.0.0.0/8"])
    assert gateway.service("users", ["http://10.0.0.1:1", {"url": "http://10.0.0.2:1", "weight": 2}]) is gateway
    assert gateway.route("/users/*", service="users", strip="/users").route(["/a", "/b"], respond="x") is gateway

    @gateway.policy
    def note(x: Any) -> None:
        pass

    config = gateway.config
    assert note.__name__ == "note"
    assert [route.path for route in config.routes] == [("/users/*",), ("/a", "/b")]
    assert [endpoint.weight for endpoint in config.services["users"].endpoints] == [1, 2]
    assert [entry.name for entry in config.policies] == ["note"]
    assert gateway.config is config
    assert gateway.snapshot() is gateway.snapshot()


def test_routes_and_services_may_also_be_given_at_once() -> None:
    routes = [{"path": "/a", "service": "s"}]
    gateway = Gateway(routes=routes, services={"s": {"endpoints": ["http://10.0.0.1:1"]}})
    gateway.route("/b", respond="x")
    assert len(gateway.config.routes) == 2
    assert len(routes) == 1


def test_what_is_switched_off_stays_off() -> None:
    assert Gateway(services_json=False).route("/*", respond="x").config.services_json is None


def test_an_empty_setting_is_a_problem_as_in_a_file() -> None:
    with pytest.raises(ConfigError):
        _ = Gateway(listen="").route("/*", respond="x").config


def test_every_problem_comes_at_once_when_the_gateway_is_used() -> None:
    gateway = Gateway(listne="x").route("no-slash", target="ftp://x").route("/a")
    with pytest.raises(ConfigError) as caught:
        gateway.snapshot()
    text = str(caught.value)
    for part in ("listne", "routes.0.path", "routes.0.target", "routes.1"):
        assert part in text


def test_a_configuration_in_use_cannot_be_changed() -> None:
    gateway = ready()
    assert gateway.config
    for change in (
        lambda: gateway.route("/b", respond="x"),
        lambda: gateway.service("s", ["http://10.0.0.1:1"]),
        lambda: gateway.policy(print),
    ):
        with pytest.raises(RuntimeError, match="complete"):
            change()


@pytest.mark.parametrize("policy", [5, "no such policy", object(), type("Class", (), {"on_request": None})])
def test_what_is_no_policy_is_refused(policy: object) -> None:
    with pytest.raises(ConfigError):
        _ = Gateway(policies=[policy]).route("/*", respond="x").config


# loading


def test_a_file_is_loaded_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    (tmp_path / "gateway.yaml").write_text("routes:\n  - path: /*\n    respond: ok\n")
    gateway = Gateway.load(tmp_path / "gateway.yaml")
    assert gateway.config.routes[0].path == ("/*",)
    with pytest.raises(RuntimeError, match="complete"):
        gateway.route("/b", respond="x")


def test_a_bad_file_is_refused_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("routes:\n  - path: /*\n    repsond: ok\n")
    with pytest.raises(ConfigError) as caught:
        Gateway.load(path)
    assert f"{path}:3:5" in str(caught.value)
    with pytest.raises(ConfigError):
        Gateway.load(tmp_path / "none.yaml")


# running


async def test_it_serves_while_it_runs_and_knows_where() -> None:
    gateway = ready()
    assert gateway.addresses == []
    for ask in (lambda: gateway.url, lambda: gateway.port):
        with pytest.raises(RuntimeError, match="does not run"):
            ask()
    async with gateway as entered:
        assert entered is gateway
        assert gateway.url == f"http://127.0.0.1:{gateway.port}"
        assert gateway.addresses == [f"127.0.0.1:{gateway.port}"]
        assert bytes((await reply(gateway)).body) == b"ok"
    assert gateway.addresses == []


async def test_without_an_address_it_takes_a_free_port_of_this_machine() -> None:
    async with Gateway().route("/*", respond="ok") as gateway:
        assert gateway.url.startswith("http://127.0.0.1:")
        assert bytes((await reply(gateway)).body) == b"ok"


async def test_a_policy_answers() -> None:
    gateway = ready()
    gateway.policy(lambda x: Response(401, json={"error": "missing key"}))
    async with gateway:
        assert (await reply(gateway)).status == 401


async def test_it_can_be_stopped_and_started_again() -> None:
    gateway = ready()
    await gateway.stop()
    for _ in range(2):
        await gateway.start()
        with pytest.raises(RuntimeError, match="runs already"):
            await gateway.start()
        assert (await reply(gateway)).status == 200
        await gateway.stop()


async def test_an_address_that_is_taken_leaves_it_stopped() -> None:
    async with ready() as first:
        second = Gateway(listen=first.addresses[0]).route("/*", respond="x")
        with pytest.raises(ListenError):
            await second.start()
        assert second.addresses == []
    await second.start()
    await second.stop()


async def test_a_listener_on_a_unix_socket_has_no_url(tmp_path: Path) -> None:
    async with Gateway(listen=f"unix:{tmp_path}/p.sock").route("/*", respond="x") as gateway:
        assert gateway.addresses == [f"unix:{tmp_path}/p.sock"]
        with pytest.raises(RuntimeError, match="TCP"):
            _ = gateway.url


async def test_the_url_of_a_listener_on_all_addresses_can_be_used() -> None:
    async with Gateway(listen=":0").route("/*", respond="x") as gateway:
        assert gateway.port > 0
        assert not gateway.url.startswith("http://:")
        assert (await reply(gateway)).status == 200


# within another program


def process_settings() -> dict[str, object]:
    """Return what belongs to the process, and so to the program that a gateway may be a part of."""
    root = logging.getLogger()
    return {
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "switch interval": sys.getswitchinterval(),
        "collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "log": (root.level, list(root.handlers), logging.getLogger("propylon").level),
    }


async def test_it_leaves_signals_collector_and_log_to_the_program_it_is_part_of() -> None:
    seen: list[dict[str, object]] = []

    def read() -> Loaded:
        seen.append(process_settings())
        return Loaded(validate({"listen": "127.0.0.1:0", "log": {"level": "debug"}}))

    before = process_settings()
    async with Gateway.from_config(validate({"listen": "127.0.0.1:0"}), read=read) as gateway:
        seen.append(process_settings())
        assert (await gateway.reload()).changes
        seen.append(process_settings())
    assert [*seen, process_settings()] == [before] * 4
