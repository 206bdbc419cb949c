"""`balance`: an algorithm by its name, with its settings, and every mistake with its place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from propylon.config.load import validate
from propylon.config.problems import ConfigError
from propylon.config.schema.balance import BalanceEntry
from propylon.plugins import BALANCERS
from propylon.services.balancing import consistent_hash, p2c
from tests.config.conftest import ColourConfig
from tests.support.config import load_text


def balance(value: Any) -> BalanceEntry:
    entry = validate({"services": {"s": {"endpoints": ["http://127.0.0.1:1"], "balance": value}}}).services["s"].balance
    assert isinstance(entry, BalanceEntry)
    return entry


def problem(value: str) -> str:
    """What is said of a file, from the value's own place on."""
    text = f"services:\n  s:\n    endpoints: [http://127.0.0.1:1]\n    balance: {value}\n"
    with pytest.raises(ConfigError) as caught:
        load_text(text, "f")
    return str(caught.value)


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> None:
        raise ModuleNotFoundError("No module named 'moon'")

    points = {
        "tides": SimpleNamespace(load=lambda: SimpleNamespace(Config=ColourConfig, Balancer=object)),
        "stars": SimpleNamespace(
            load=lambda: SimpleNamespace(Config=ColourConfig, Balancer=SimpleNamespace(decides_alone=True))
        ),
        "moon": SimpleNamespace(load=wrong),
    }
    monkeypatch.setattr(BALANCERS, "_entry_points", points)


def test_a_name_alone_stands_for_its_defaults() -> None:
    forms: list[Any] = ["p2c", {"p2c": None}, {"p2c": {}}, {"p2c": p2c.Config()}, BalanceEntry.named("p2c")]
    for form in forms:
        assert (balance(form).name, balance(form).config) == ("p2c", p2c.Config())


def test_who_says_nothing_gets_p2c() -> None:
    service = validate({"services": {"s": {"endpoints": ["http://127.0.0.1:1"]}}}).services["s"]
    assert service.balance == BalanceEntry.named() == BalanceEntry.named("p2c")


def test_settings_are_those_of_the_algorithm() -> None:
    entry = balance({"consistent_hash": {"header": "x-user", "bound": "none"}})
    assert entry.config == consistent_hash.Config(header="x-user", bound=None)


def test_in_python_a_function_chooses() -> None:
    def choose(x: Any, endpoints: Any) -> Any:
        return endpoints[0]

    entry = balance(choose)
    assert (entry.name, entry.config.function) == ("python", choose)


@pytest.mark.usefixtures("third_party")
def test_another_package_brings_an_algorithm() -> None:
    assert balance({"tides": {"shade": "dark"}}).config == ColourConfig(shade="dark")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("p2", "f:4:14: services.s.balance: unknown balancing algorithm 'p2', did you mean 'p2c'?"),
        ("{least_lod: {}}", "unknown balancing algorithm 'least_lod', did you mean 'least_load'?"),
        (
            "{least_requests: {choises: 3}}",
            "f:4:32: services.s.balance.least_requests.choises: unknown key 'choises', did you",
        ),
        (
            "{least_requests: {choices: 1}}",
            "services.s.balance.least_requests.choices: should be greater than or equal",
        ),
        ("{consistent_hash: {}}", "exactly one of header, cookie, query, path, client, python says what the key is"),
        ("{p2c: {}, random: {}}", "one balancing algorithm a service, but here are 'p2c', 'random', indent"),
        ("{}", "no balancing algorithm is named here, write its name and its settings"),
        ("3", "should be the name of an algorithm, for example p2c, or {name: settings}"),
        ("[p2c]", "should be the name of an algorithm, for example p2c, or {name: settings}"),
        ("_ring", "unknown balancing algorithm '_ring'"),
        ("moon", "the balancing algorithm 'moon' cannot be used: ModuleNotFoundError: No module named 'moon'"),
        ("{sticky: {secret: short}}", "write 16 characters or more"),
    ],
)
@pytest.mark.usefixtures("third_party")
def test_a_mistake_is_reported_with_its_place_and_a_way_out(value: str, said: str) -> None:
    assert said in problem(value)


def test_a_secret_is_never_shown() -> None:
    assert "tiny" not in problem("{sticky: {secret: tiny}}")


def test_a_validator_of_another_package_that_breaks_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaks(ColourConfig):
        @classmethod
        def model_validate(cls, *args: Any, **more: Any) -> Any:
            raise ZeroDivisionError("oh")

    module = SimpleNamespace(Config=Breaks, Balancer=object)
    monkeypatch.setattr(BALANCERS, "_entry_points", {"tides": SimpleNamespace(load=lambda: module)})
    assert "the balancing algorithm 'tides' failed: ZeroDivisionError: oh" in problem("tides")


def test_an_unknown_name_is_an_error_in_python_too() -> None:
    with pytest.raises(ValidationError, match="unknown balancing algorithm 'p3'"):
        BalanceEntry.named("p3")


# beside a slow start


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("p2c", True),
        ("{ewma: {}}", True),
        ("tides", True),
        ("moon", True),  # it cannot be imported, and that is told
        ("{consistent_hash: {client: true}}", False),
        ("sticky", False),
        ("{python: 'a:b'}", False),
        ("stars", False),
    ],
)
@pytest.mark.usefixtures("third_party")
def test_an_algorithm_that_decides_alone_is_refused_a_slow_start(value: str, fits: bool) -> None:
    assert ("which decides alone" in problem(f"{value}\n    slow_start: 5s\n    hedge: wrong")) is not fits
