"""Files, texts and Python data become a configuration or a `ConfigError`, and nothing else."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from propylon.config.load import load, validate
from propylon.config.problems import ConfigError
from propylon.config.schema import GatewayConfig
from tests.support.config import load_text

EXAMPLE = """
listen: 127.0.0.1:${PORT:-8080}
services:
  users:
    endpoints: [http://127.0.0.1:3001, {url: http://127.0.0.1:3002, weight: 2}]
routes:
  - path: /users/*
    methods: [GET, POST]
    service: users
    strip: /users
    policies:
      - colour: {shade: dark}
        when: {methods: [GET]}
  - path: /hello
    target: http://127.0.0.1:3000
"""


def test_a_file_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(EXAMPLE)
    config = load(path, environment={"PORT": "9000"}).config
    assert str(config.listen[0].address) == "127.0.0.1:9000"
    assert [route.path for route in config.routes] == [("/users/*",), ("/hello",)]
    entry = config.routes[0].policies[0]
    assert (entry.name, entry.config.shade) == ("colour", "dark")
    assert entry.when is not None
    assert entry.when[0].methods == ("GET",)


def test_files_are_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "404.html").write_text("gone")
    path = tmp_path / "gateway.yaml"
    path.write_text("errors: {pages: {404: 404.html}}")
    assert load(path).config.errors.pages == {"404": tmp_path / "404.html"}


def problems_of(path: str | Path) -> str:
    with pytest.raises(ConfigError) as raised:
        load(path)
    return str(raised.value)


def test_a_missing_file_is_a_problem() -> None:
    assert problems_of("nowhere.yaml") == "nowhere.yaml: there is no such file, give the path of the configuration"


def test_a_directory_is_a_problem(tmp_path: Path) -> None:
    assert "is a directory" in problems_of(tmp_path)


def test_an_impossible_path_is_a_problem() -> None:
    assert "is not the path of a file" in problems_of("a\0b")


def test_a_file_that_may_not_be_read_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "open", refuse)
    assert "may not be read, check the file's permissions" in problems_of(tmp_path / "gateway.yaml")


def test_variables_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROPYLON_TEST_NAME", "front")
    assert load_text("name: ${PROPYLON_TEST_NAME}").name == "front"


def test_python_data_has_the_same_problems_without_lines() -> None:
    with pytest.raises(ConfigError) as raised:
        validate({"routes": [{"path": "/a", "service": "usrs", "wieght": 1}], "services": {}})
    assert str(raised.value).splitlines() == [
        "gateway: routes.0.wieght: unknown key 'wieght'",
        "gateway: routes.0.service: unknown service 'usrs', define it under 'services'",
    ]


def test_none_switches_off_in_python_and_is_refused_in_a_file() -> None:
    assert validate({"timeouts": {"header": None}}).timeouts.header is None
    with pytest.raises(ConfigError, match="has no value: write 'none'"):
        load_text("timeouts: {header: }")


def test_python_data_that_is_no_mapping_is_a_problem() -> None:
    data: Any = [1]
    with pytest.raises(ConfigError, match="should be a mapping of keys to values"):
        validate(data)


@given(st.text())
def test_any_text_is_a_configuration_or_its_problems(text: str) -> None:
    try:
        assert isinstance(load_text(text, environment={}), GatewayConfig)
    except ConfigError:
        pass


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(
        ["/a", "/a/*", "/{x}", "http://a", "users", "5s", "none", "GET", "*", "10.0.0.0/8", ":80", "(a+)+"]
    ),
)
KEYS = st.sampled_from(
    sorted(
        {name for model in (GatewayConfig,) for name in model.model_fields}
        | {"path", "host", "service", "target", "redirect", "respond", "strip", "rewrite", "prefix", "regex", "to"}
        | {"endpoints", "url", "weight", "tls", "ca", "connections", "max", "query_edit", "set", "remove", "headers"}
        | {
            "colour",
            "shade",
            "when",
            "unless",
            "methods",
            "paths",
            "query",
            "name",
            "address",
            "proxy_protocol",
            "from",
        }
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=15,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_data_is_a_configuration_or_its_problems(data: dict[str, Any]) -> None:
    text = yaml.safe_dump(data)
    for read in (partial(validate, data), partial(load_text, text, environment={})):
        try:
            assert isinstance(read(), GatewayConfig)
        except ConfigError:
            pass
