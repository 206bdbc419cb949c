"""Every variable: its default, what it accepts, and what is said about anything else."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from propylon.config.problems import ConfigSource
from propylon.config.validation import from_validation
from propylon.service_mode.variables import Variables

SECRET = "s" * 32


def variables(**given: Any) -> Variables:
    return Variables.model_validate({"UPSTREAMS": {}, **given})


def problems(**given: Any) -> list[str]:
    data = {"UPSTREAMS": {}, **given}
    with pytest.raises(ValidationError) as raised:
        Variables.model_validate(data)
    return [
        str(problem).removeprefix("environment: ")
        for problem in from_validation(raised.value, ConfigSource("environment", data))
    ]


def test_the_defaults_are_these() -> None:
    assert variables().model_dump() == {
        "upstreams": {},
        "host": "0.0.0.0",
        "port": 8080,
        "node_env": "development",
        "log_level": "info",
        "http_proxy_timeout_ms": 30_000,
        "ws_max_buffered_bytes": 2_000_000,
        "ws_ping_interval_ms": 30_000,
        "auth_required": None,
        "jwt_secret": None,
        "rate_limit_max": None,
        "rate_limit_window_ms": None,
        "cache_enabled": False,
        "cache_default_ttl_ms": 5_000,
        "cache_max_body_bytes": 262_144,
        "under_pressure_max_event_loop_delay_ms": None,
        "under_pressure_max_heap_used_bytes": None,
        "under_pressure_max_rss_bytes": None,
    }


# UPSTREAMS


def test_a_service_has_urls() -> None:
    given = {"users": ["http://127.0.0.1:3001/", "https://users.example/v1/"], "a-b_c.d": ["unix:/run/x.sock"]}
    assert list(variables(UPSTREAMS=given).upstreams) == ["users", "a-b_c.d"]


@pytest.mark.parametrize(
    ("services", "problem"),
    [
        ({"users": []}, "UPSTREAMS.users: should not be empty"),
        ({"users": "http://a"}, "UPSTREAMS.users: should be a list (got 'http://a')"),
        ({"users": None}, "UPSTREAMS.users: should be a list (got nothing)"),
        ({"users": ["/relative"]}, "UPSTREAMS.users.0: has no scheme: write http://host:port"),
        ({"users": ["a:3001"]}, "UPSTREAMS.users.0: "),
        ({"users": ["ws://a"]}, "UPSTREAMS.users.0: WebSocket goes over HTTP: write http://a"),
        ({"users": ["http://a?b"]}, "UPSTREAMS.users.0: has a query"),
        ({"users": ["http://a/../b"]}, "UPSTREAMS.users.0: the path has a dot segment"),
        ({"users": [3]}, "UPSTREAMS.users.0: not a URL"),
        ({"a/b": ["http://a"]}, "UPSTREAMS.a/b: not a name of a service: write letters"),
        ({"..": ["http://a"]}, "UPSTREAMS...: not a name of a service: write letters"),
        ({"": ["http://a"]}, "UPSTREAMS.: "),
        ({"{x}": ["http://a"]}, "UPSTREAMS.{x}: not a name of a service"),
    ],
)
def test_a_wrong_service_is_told_by_its_place(services: dict[str, Any], problem: str) -> None:
    (found,) = problems(UPSTREAMS=services)
    assert found.startswith(problem)


def test_a_url_that_stands_twice_is_told() -> None:
    found = problems(UPSTREAMS={"users": ["http://a/", "http://b", "http://A:80"], "others": ["http://a"]})
    assert found == ["UPSTREAMS.users.2: http://a is listed twice, remove one"]


# addresses, levels, numbers


@pytest.mark.parametrize(
    ("host", "listens"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("::", "[::]"),
        ("::1", "[::1]"),
        ("Box.example", "box.example"),
    ],
)
def test_a_host_is_an_address_or_a_name(host: str, listens: str) -> None:
    assert variables(HOST=host).host == listens


@pytest.mark.parametrize("host", ["127.0.0.1:80", "[::1]", "a b", "http://a", "a:b", "unix:/x", "/x"])
def test_a_wrong_host_is_told(host: str) -> None:
    (found,) = problems(HOST=host)
    assert found.startswith("HOST: should be an address or a name, such as 0.0.0.0, 127.0.0.1 or ::; the port is PORT")


@pytest.mark.parametrize(
    ("level", "ours"),
    [
        ("fatal", "critical"), ("error", "error"), ("warn", "warning"), ("info", "info"), ("debug", "debug"),
        ("trace", "debug"), ("silent", "critical"),
    ],
)  # fmt: skip
def test_a_level_is_one_of_seven(level: str, ours: str) -> None:
    assert variables(LOG_LEVEL=level).log_level == ours


def test_a_wrong_level_is_told_with_the_one_that_is_meant() -> None:
    assert problems(LOG_LEVEL="warning") == [
        "LOG_LEVEL: should be one of fatal, error, warn, info, debug, trace, silent; "
        "did you mean 'warn'? (got 'warning')"
    ]


NUMBERS = {
    "PORT": 65535,
    "HTTP_PROXY_TIMEOUT_MS": 315_360_000_000,
    "WS_PING_INTERVAL_MS": 315_360_000_000,
    "WS_MAX_BUFFERED_BYTES": 2**30,
    "CACHE_DEFAULT_TTL_MS": 315_360_000_000,
    "CACHE_MAX_BODY_BYTES": 2**30,
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_whole_and_has_bounds(name: str) -> None:
    for text in ("1", "007", str(NUMBERS[name])):
        assert getattr(variables(**{name: text}), name.lower()) == int(text)
    for text in ("0", "-1", "+1", "1.0", "1e3", "1_0", "30s", "x", "٣", str(NUMBERS[name] + 1), "9" * 5000):
        (found,) = problems(**{name: text})
        assert found.startswith(f"{name}: should be a whole number from 1 to {NUMBERS[name]} (got '")


# what is not there yet


@pytest.mark.parametrize("word", ["false", "0", "no", "n", "off", "FALSE", "No"])
@pytest.mark.parametrize("name", ["AUTH_REQUIRED", "CACHE_ENABLED"])
def test_what_is_switched_off_is_accepted(name: str, word: str) -> None:
    assert getattr(variables(**{name: word}), name.lower()) is False


@pytest.mark.parametrize("word", ["true", "1", "yes", "y", "on", "TRUE", "Yes"])
def test_what_is_switched_on_is_refused(word: str) -> None:
    assert problems(AUTH_REQUIRED=word, CACHE_ENABLED=word) == [
        "AUTH_REQUIRED: tokens cannot be checked yet, so nobody would be let in, "
        "set AUTH_REQUIRED=false if the services check them",
        "CACHE_ENABLED: there is no cache yet, set CACHE_ENABLED=false, or remove it",
    ]


@pytest.mark.parametrize("name", ["AUTH_REQUIRED", "CACHE_ENABLED"])
@pytest.mark.parametrize("word", ["2", "t", "none", "disabled"])
def test_what_is_neither_on_nor_off_is_told(name: str, word: str) -> None:
    (found,) = problems(**{name: word})
    assert found.startswith(f"{name}: should be true, 1, yes, y or on; or false, 0, no, n or off")


def test_production_is_not_served_without_a_word_about_tokens() -> None:
    assert problems(NODE_ENV="production") == [
        "NODE_ENV: in production AUTH_REQUIRED is true, and tokens cannot be checked yet, "
        "set AUTH_REQUIRED=false if the services check them"
    ]
    assert variables(NODE_ENV="production", AUTH_REQUIRED="false").node_env == "production"


@pytest.mark.parametrize("environment", ["development", "test"])
def test_outside_of_production_tokens_are_not_asked_for(environment: str) -> None:
    assert variables(NODE_ENV=environment).auth_required is None


@pytest.mark.parametrize("environment", ["prod", "Production", "staging"])
def test_another_environment_is_told(environment: str) -> None:
    (found,) = problems(NODE_ENV=environment)
    assert found == f"NODE_ENV: should be 'development', 'test' or 'production' (got '{environment}')"


@pytest.mark.parametrize("given", [{}, {"AUTH_REQUIRED": "true"}, {"NODE_ENV": "production"}])
def test_a_secret_nobody_checks_tokens_with_is_refused(given: dict[str, str]) -> None:
    assert problems(JWT_SECRET=SECRET, **given)[-1] == (
        "JWT_SECRET: tokens cannot be checked yet, remove it, or set AUTH_REQUIRED=false if the services check them"
    )


def test_a_secret_is_accepted_when_tokens_are_switched_off() -> None:
    assert variables(JWT_SECRET=SECRET, AUTH_REQUIRED="false").jwt_secret == SECRET


def test_a_short_secret_is_told_and_not_shown() -> None:
    found = problems(JWT_SECRET=SECRET[1:], AUTH_REQUIRED="off")
    assert found == ["JWT_SECRET: should have 32 characters or more"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("RATE_LIMIT_MAX", "rate limits are not there yet"),
        ("RATE_LIMIT_WINDOW_MS", "rate limits are not there yet"),
        ("UNDER_PRESSURE_MAX_EVENT_LOOP_DELAY_MS", "requests are not shed under load yet"),
        ("UNDER_PRESSURE_MAX_HEAP_USED_BYTES", "requests are not shed under load yet"),
        ("UNDER_PRESSURE_MAX_RSS_BYTES", "requests are not shed under load yet"),
    ],
)
def test_what_is_not_there_is_refused(name: str, reason: str) -> None:
    assert problems(**{name: "1000"}) == [f"{name}: {reason}, remove {name}"]


def test_every_variable_is_described() -> None:
    assert [name for name, field in Variables.model_fields.items() if not field.description] == []


# the example


def test_the_example_has_every_variable_with_its_default() -> None:
    text = (Path(__file__).parents[2] / ".env.example").read_text()
    lines = re.findall(r"^(# )?([A-Z_]+)=(.*)$", text, re.MULTILINE)
    assert sorted(name for _, name, _ in lines) == sorted(name.upper() for name in Variables.model_fields)
    shown = {name: value for _, name, value in lines if value and name not in ("UPSTREAMS", "AUTH_REQUIRED")}
    assert variables(**shown) == variables()
    assert {name for off, name, _ in lines if off} == {
        name.upper() for name, value in variables().model_dump().items() if value is None
    }
