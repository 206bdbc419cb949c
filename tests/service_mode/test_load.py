"""The environment as a whole: what is read, what is not looked at, and every problem by its variable."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.config.problems import ConfigError
from propylon.service_mode.load import is_wanted, load

USERS = '{"users": ["http://127.0.0.1:3001"]}'


def problems(**environment: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(environment)
    return [str(problem).removeprefix("environment: ") for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [({}, False), ({"UPSTREAMS": ""}, False), ({"UPSTREAMS": " \n"}, False), ({"UPSTREAMS": "{"}, True)],
)
def test_upstreams_is_the_switch(environment: dict[str, str], wanted: bool) -> None:
    assert is_wanted(environment) is wanted


def test_upstreams_alone_is_enough() -> None:
    config = load({"UPSTREAMS": USERS})
    assert [str(listener.address) for listener in config.listen] == ["0.0.0.0:8080"]
    assert [endpoint.url for endpoint in config.services["users"].endpoints] == ["http://127.0.0.1:3001"]


def test_every_problem_is_told_at_once_in_the_order_of_the_variables() -> None:
    found = problems(
        UPSTREAMS='{"users": ["ftp://a"]}', HOST="a b", PORT="0", NODE_ENV="prod", LOG_LEVEL="warning",
        HTTP_PROXY_TIMEOUT_MS="30s", WS_MAX_BUFFERED_BYTES="0", WS_PING_INTERVAL_MS="-1", AUTH_REQUIRED="maybe",
        CACHE_ENABLED="?", CACHE_DEFAULT_TTL_MS="1.5", CACHE_MAX_BODY_BYTES="", RATE_LIMIT_MAX="200",
    )  # fmt: skip
    assert [problem.partition(": ")[0] for problem in found] == [
        "UPSTREAMS.users.0", "HOST", "PORT", "NODE_ENV", "LOG_LEVEL", "HTTP_PROXY_TIMEOUT_MS", "WS_MAX_BUFFERED_BYTES",
        "WS_PING_INTERVAL_MS", "AUTH_REQUIRED", "CACHE_ENABLED", "CACHE_DEFAULT_TTL_MS", "RATE_LIMIT_MAX",
    ]  # fmt: skip


def test_variables_of_others_are_not_looked_at() -> None:
    load({"UPSTREAMS": USERS, "PATH": "/bin", "USERS_PORT": "tcp://10.0.0.1:80", "HTTP_PROXY": "http://127.0.0.1:1"})


def test_an_empty_variable_is_not_set() -> None:
    config = load({"UPSTREAMS": USERS, "PORT": "", "HOST": " ", "RATE_LIMIT_MAX": "", "JWT_SECRET": ""})
    assert str(config.listen[0].address) == "0.0.0.0:8080"


def test_a_missing_upstreams_is_told() -> None:
    assert problems(PORT="1") == ["UPSTREAMS: required key is missing"]


@pytest.mark.parametrize("text", ["{", "null", "[]", "3", '"http://127.0.0.1:3001"', "http://127.0.0.1", "[" * 100_000])
def test_what_is_no_json_object_is_told_with_an_example(text: str) -> None:
    (found,) = problems(UPSTREAMS=text)
    assert found.startswith("UPSTREAMS: must be valid JSON: an object")
    assert found.endswith('write {"users": ["http://127.0.0.1:3001"]}')


def test_a_service_that_is_named_twice_is_told_beside_the_other_problems() -> None:
    found = problems(UPSTREAMS='{"a": ["http://b"], "a": ["http://c"]}', PORT="x")
    assert found[0] == "UPSTREAMS: 'a' is named twice, list its URLs together"
    assert [problem.partition(":")[0] for problem in found] == ["UPSTREAMS", "PORT"]


def test_no_password_is_shown() -> None:
    found = problems(
        UPSTREAMS='{"a": ["http://me:hunter2@a", "http://me:hunter2@a"]}', JWT_SECRET="hunter2", AUTH_REQUIRED="hunter2"
    )
    assert not [problem for problem in found if "hunter2" in problem]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("http://127.0.0.1:3001"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.one_of(st.text(), st.builds(json.dumps, JSON)), st.text(), st.text())
def test_any_environment_is_a_gateway_or_a_list_of_problems(upstreams: str, host: str, port: str) -> None:
    try:
        load({"UPSTREAMS": upstreams, "HOST": host, "PORT": port})
        found = []
    except ConfigError as error:
        found = [problem.path for problem in error.problems]
    assert all(path.startswith(("UPSTREAMS", "HOST", "PORT")) for path in found)
