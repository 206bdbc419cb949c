"""Loads a `GatewayConfig` from a file or Python data, or raises `ConfigError` with every problem.

Rules of the file: only `ConfigError` is raised; there are no partial configurations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from propylon.config import document
from propylon.config.problems import ConfigError, ConfigSource, Problem, from_validation
from propylon.config.resolve import Resolver
from propylon.config.schema import GatewayConfig
from propylon.config.types import BASE_DIR, FROM_FILE


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and its sources.

    Attributes:
        files: the files it was read from, without those that it refers to by path.
        file: the configuration file, if there is one.
        secrets: values to redact: those from the environment or from files.
    """

    config: GatewayConfig
    files: frozenset[Path] = frozenset()
    secrets: frozenset[str] = frozenset()
    file: Path | None = None


def load(path: str | Path, *, base_dir: Path | None = None, environment: Mapping[str, str] | None = None) -> Loaded:
    """Return the configuration in a YAML file with its sources.

    Args:
        base_dir: the folder that relative paths refer to, by default that of the file.
        environment: replaces the environment variables of the process.

    Raises:
        ConfigError: with every problem, also when the file cannot be read.
    """
    name = str(path)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(document.MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError([_unreadable(name, error)]) from None
    root = document.parse(document.decode(raw, name), name)
    if root is None:
        raise ConfigError([Problem(name, None, None, "", "is empty", "write at least 'routes:'")])
    folder = Path(path).parent if base_dir is None else base_dir
    resolver = Resolver(name, folder, environment)
    source = resolver.source(root)
    config, problems = _validated(source, {BASE_DIR: folder, FROM_FILE: True}, resolver.failed)
    if config is None or resolver.problems:
        raise ConfigError([*resolver.problems, *problems])
    return Loaded(config, frozenset(resolver.files) | {Path(path)}, frozenset(resolver.secrets), Path(path))


def placed(path: str | Path, message: str) -> Problem:
    """Return a build error as a problem with its position: `message` begins with the path of keys.

    The file is parsed again for the position, as positions are not kept with a configuration in use.
    """
    where, colon, rest = message.partition(": ")
    steps = tuple(int(step) if step.isdecimal() else step for step in where.split("."))
    if not colon or steps[0] not in GatewayConfig.model_fields:
        return Problem(str(path), None, None, "", message)
    try:
        root = document.parse(document.decode(Path(path).read_bytes(), str(path)), str(path))
        if root is not None:
            return replace(Resolver(str(path), Path(path).parent).source(root).problem(steps, rest), path=where)
    except (OSError, ConfigError):
        pass  # the file has changed meanwhile
    return Problem(str(path), None, None, where, rest)


def validate(data: Mapping[str, Any], name: str = "gateway", *, base_dir: str | Path = ".") -> GatewayConfig:
    """Return the configuration in Python data: the same keys and problems, without line numbers.

    Policies may also be callables and objects. Raises `ConfigError`.
    """
    config, problems = _validated(ConfigSource(name, data), {BASE_DIR: base_dir}, set())
    if config is None:
        raise ConfigError(problems)
    return config


def _validated(
    source: ConfigSource, context: dict[str, Any], failed: set[tuple[str | int, ...]]
) -> tuple[GatewayConfig | None, list[Problem]]:
    """Return the configuration or its problems, without those caused by values that could not be read."""
    if not isinstance(source.data, Mapping):
        problem = source.problem((), "should be a mapping of keys to values", "begin with 'listen:' or 'routes:'")
        return None, [problem]
    try:
        return GatewayConfig.model_validate(source.data, context=context), []
    except ValidationError as error:
        known = {".".join(map(str, path)) for path in failed}
        return None, [problem for problem in from_validation(error, source) if problem.path not in known]


def _unreadable(name: str, error: OSError | ValueError) -> Problem:
    hint = None
    if isinstance(error, FileNotFoundError):
        message, hint = "there is no such file", "give the path of the configuration"
    elif isinstance(error, IsADirectoryError):
        message, hint = "is a directory", "give the path of a file in it, such as gateway.yaml"
    elif isinstance(error, PermissionError):
        message, hint = "may not be read", "check the file's permissions and its owner"
    elif isinstance(error, OSError):
        message = f"cannot be read: {error.strerror}"
    else:
        message = "is not the path of a file"
    return Problem(name, None, None, "", message, hint)
