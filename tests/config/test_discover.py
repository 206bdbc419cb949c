"""`discover` of a service: one provider by its name, whose settings are checked where they are written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from propylon.build.service import make_provider
from propylon.config.document import parse
from propylon.config.resolve import Resolver
from propylon.config.schema.base import Model
from propylon.config.schema.discover import DiscoverConfig
from propylon.config.types import BASE_DIR, FROM_FILE, ExistingFile
from propylon.config.validation import from_validation
from propylon.plugins import PROVIDERS
from propylon.services.discovery import EndpointSpec
from propylon.services.discovery import file as file_provider
from propylon.services.discovery.python import Config as PythonConfig
from tests.support.lists import PLACE, lists_of


class Holder(Model):
    """Something with the key."""

    discover: DiscoverConfig


class RegistryConfig(BaseModel):
    """A registry of another package."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field(description="Where it is.")
    certificate: ExistingFile | None = Field(default=None, description="A file.")


class Registry:
    def __init__(self, config: RegistryConfig, place: Any) -> None:
        self.config, self.place = config, place

    async def watch(self) -> AsyncIterator[list[EndpointSpec]]:
        yield [EndpointSpec(f"http://{self.place.service}.{self.config.address}")]


@pytest.fixture(autouse=True)
def _another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(Config=RegistryConfig, Provider=Registry)
    half = SimpleNamespace(Config=RegistryConfig)
    points = {"registry": SimpleNamespace(load=lambda: module), "half": SimpleNamespace(load=lambda: half)}
    monkeypatch.setattr(PROVIDERS, "_entry_points", points)


def read(text: str, base_dir: Path | None = None) -> DiscoverConfig:
    """The value of `discover:` in a YAML text; a `ValueError` with its problems for one that is wrong."""
    root = parse(text, "g.yaml")
    assert root is not None
    source = Resolver("g.yaml", Path(), {}).source(root)
    try:
        return Holder.model_validate(source.data, context={BASE_DIR: base_dir or ".", FROM_FILE: True}).discover
    except ValidationError as error:
        raise ValueError("\n".join(map(str, from_validation(error, source)))) from None


def test_a_provider_is_found_by_its_name_and_has_its_settings() -> None:
    config = read("discover: {file: {path: users.yaml, interval: 5s}}")
    assert config.name == "file"
    assert config.config == file_provider.Config(path="users.yaml", interval=5)
    assert isinstance(make_provider(config, PLACE), file_provider.Provider)


def test_the_short_form_of_a_provider_is_its_own() -> None:
    assert read("discover: {file: users.yaml}").config == file_provider.Config(path="users.yaml")


def test_every_built_in_provider_is_frozen_and_refuses_unknown_keys() -> None:
    for name in {"consul", "dns", "file", "python"}:
        assert name in PROVIDERS.names()
        config = PROVIDERS.find(name).Config
        assert config.model_config["frozen"] is True
        assert config.model_config["extra"] == "forbid"
        assert all(field.description for field in config.model_fields.values()), name


async def test_another_package_brings_a_provider() -> None:
    provider = make_provider(read("discover: {registry: {address: test}}"), PLACE)
    async with lists_of(provider) as lists:
        assert await lists.next() == [EndpointSpec("http://users.test")]


def test_a_file_in_the_settings_is_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "a.pem").touch()
    config = read("discover: {registry: {address: a, certificate: a.pem}}", tmp_path).config
    assert config.certificate == tmp_path / "a.pem"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("discover:\n  consl: {service: users}", "g.yaml:2:3: discover.consl: unknown provider 'consl', did you mean"),
        ("discover: {zzz: 1}", "unknown provider 'zzz', known are asgi, consul, "),
        ("discover:\n  consul: {servce: users}", "g.yaml:2:12: discover.consul.servce: unknown key 'servce', did you"),
        ("discover:\n  consul: {}", "g.yaml:2:3: discover.consul.service: required key is missing"),
        (
            "discover:\n  consul:\n    service: users\n    tls: {verfy: true}",
            "g.yaml:4:11: discover.consul.tls.verfy: ",
        ),
        (
            "discover:\n  dns:\n    name: a.test\n    port: '80'",
            "g.yaml:4:11: discover.dns.port: should be a whole number",
        ),
        ("discover: {dns: {name: a.test}}", "'port' is missing: addresses have none"),
        ("discover: {consul: users, dns: {}}", "one provider a service, but here are 'consul', 'dns'"),
        ("discover: {}", "no provider is named here"),
        ("discover: [consul]", "should be {name: settings}, with the name of a provider"),
        ("discover: 7", "should be {name: settings}"),
        ("discover: consul", "required key is missing"),
        ("discover: {half: {address: a}}", "the provider 'half' cannot be used: its module has no Provider"),
        ("discover: {os.path: 1}", "unknown provider 'os.path'"),
        ("discover: {_http: 1}", "unknown provider '_http'"),
    ],
)
def test_a_mistake_is_reported_with_its_place_and_a_way_out(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"^g\.yaml:") as caught:
        read(text)
    assert problem in str(caught.value)


def test_a_token_is_not_shown() -> None:
    with pytest.raises(ValueError, match="should be a token") as caught:
        read("discover: {consul: {service: users, token: 's3 cret'}}")
    assert "s3 cret" not in str(caught.value)


async def _users() -> AsyncIterator[list[str]]:
    yield ["http://a.test"]


async def test_in_python_a_function_is_enough() -> None:
    config = Holder.model_validate({"discover": _users}).discover
    assert config == DiscoverConfig.of(_users)
    assert config.config == PythonConfig(source=_users)
    async with lists_of(make_provider(config, PLACE)) as lists:
        assert await lists.next() == [EndpointSpec("http://a.test")]


def test_in_python_settings_may_be_the_config_itself() -> None:
    settings = file_provider.Config(path="a")
    assert DiscoverConfig.named("file", settings).config is settings
    assert Holder(discover=DiscoverConfig.named("file", settings)).discover.config is settings
    with pytest.raises(ValidationError, match="unknown key 'pth'"):
        DiscoverConfig.named("file", {"pth": "a"})


def test_the_schema_for_editors_has_the_settings_of_every_provider() -> None:
    schema = Holder.model_json_schema()["$defs"]["DiscoverConfig"]
    named, name = schema["anyOf"]
    assert set(named["properties"]) == set(name["enum"]) == set(PROVIDERS.names())
    assert named["additionalProperties"] is False
    assert "address" in named["properties"]["registry"]["anyOf"][0]["properties"]
    assert named["properties"]["half"] == {}
    assert schema["description"]
