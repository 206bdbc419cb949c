"""Loads a `GatewayConfig` from environment variables, or raises `ConfigError` with every problem by its variable."""

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from propylon.config.problems import ENVIRONMENT, ConfigError, ConfigSource, Problem
from propylon.config.schema import GatewayConfig
from propylon.config.validation import from_validation
from propylon.service_mode.gateway import gateway_config
from propylon.service_mode.variables import Variables

SWITCH: Final = "UPSTREAMS"
"""The variable that enables service mode."""

VARIABLES: Final = tuple(name.upper() for name in Variables.model_fields)


class _NamedTwiceError(ValueError):
    """A JSON object has a name twice; the message is the name."""


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Return whether the environment enables service mode."""
    return bool(environment.get(SWITCH, "").strip())


def load(environment: Mapping[str, str]) -> GatewayConfig:
    """Return the configuration of the environment; other variables are ignored.

    Raises `ConfigError`.
    """
    data, problems = _read(environment)
    known = {problem.path for problem in problems}
    try:
        variables = Variables.model_validate(data)
    except ValidationError as error:
        found = from_validation(error, ConfigSource(ENVIRONMENT, data))
        raise ConfigError([*problems, *(problem for problem in found if problem.path not in known)]) from None
    return gateway_config(variables)


def _read(environment: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the variables that are set, with `UPSTREAMS` parsed, and the problems that the model cannot detect."""
    data: dict[str, Any] = {name: value for name in VARIABLES if (value := environment.get(name, "").strip())}
    try:
        data[SWITCH] = json.loads(data[SWITCH], object_pairs_hook=_once)
    except _NamedTwiceError as error:
        del data[SWITCH]
        return data, [
            Problem(ENVIRONMENT, None, None, SWITCH, f"{str(error)!r} is named twice", "list its URLs together")
        ]
    except (KeyError, ValueError, RecursionError):
        pass  # the model reports it
    return data, []


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse duplicate names, which JSON parsers treat differently (RFC 8259 4)."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _NamedTwiceError(name)
        found[name] = value
    return found
