"""Loads a `GatewayConfig` from a file or Python data, or raises `ConfigError` with every problem.

Rules of the file: only `ConfigError` is raised; there are no partial configurations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from propylon.config import document, other_gateways
from propylon.config.extensions import validated
from propylon.config.include import Includes
from propylon.config.misplaced import MAX_KEYS, Homes
from propylon.config.problems import ConfigError, ConfigSource, Path, Position, Problem
from propylon.config.resolve import Resolver
from propylon.config.schema import GatewayConfig
from propylon.config.types import BASE_DIR, FROM_FILE
from propylon.config.validation import from_validation, unknown_keys


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and its sources.

    Attributes:
        files: the files it was read from, without those that it refers to by path.
        file: the configuration file, if there is one.
        secrets: values to redact: those from the environment or from files.
        calls: the calls of a Python program that its parts come from.
        patterns: the patterns of files that it includes.
    """

    config: GatewayConfig
    files: frozenset[FilePath] = frozenset()
    secrets: frozenset[str] = frozenset()
    file: FilePath | None = None
    calls: Mapping[Path, Position] = field(default_factory=dict)
    patterns: frozenset[str] = frozenset()


def load(
    path: str | FilePath, *, base_dir: FilePath | None = None, environment: Mapping[str, str] | None = None
) -> Loaded:
    """Return the configuration in a YAML file with its sources.

    Args:
        base_dir: the folder that relative paths refer to, by default that of the file.
        environment: replaces the environment variables of the process.

    Raises:
        ConfigError: with every problem, also when the file cannot be read.
    """
    folder = FilePath(path).parent if base_dir is None else base_dir
    source, resolver = _read(FilePath(path), folder, environment)
    context = {BASE_DIR: folder, FROM_FILE: True}
    config, problems = _validated(source, context, resolver.failed)
    files = [FilePath(path), *resolver.files]
    if config is None or resolver.problems:
        raise ConfigError([*resolver.problems, *problems], files, source, context)
    return Loaded(
        config,
        frozenset(files),
        frozenset(resolver.secrets),
        FilePath(path),
        patterns=frozenset(resolver.patterns),
    )


def _read(path: FilePath, base_dir: FilePath, environment: Mapping[str, str] | None) -> tuple[ConfigSource, Resolver]:
    """Return the data of a file, and what resolved it, with the problems so far. Raises `ConfigError`."""
    name = str(path)
    root, _ = document.read(path)
    if root is None:
        raise ConfigError([Problem(name, None, None, "", "is empty", "write at least 'routes:'")])
    resolver = Resolver(name, base_dir, environment)
    if isinstance(root, document.MappingNode):
        root = Includes(resolver).merged(root, path, base_dir)
    return resolver.source(root), resolver


def placed(loaded: Loaded, name: str, messages: Sequence[str]) -> list[Problem]:
    """Return build errors as problems with their positions: each message begins with the path of keys.

    A file is parsed again for the positions, as they are not kept with a configuration in use.

    Args:
        name: the name of a configuration without a file.
    """
    source = source_of(loaded, name)
    return [placed_in(source, message) for message in messages]


def placed_in(source: ConfigSource, message: str) -> Problem:
    """Return a build error as a problem with its position."""
    where, colon, rest = message.partition(": ")
    steps = tuple(int(step) if step.isdecimal() else step for step in where.split("."))
    if not colon or steps[0] not in GatewayConfig.model_fields:
        return Problem(source.file, None, None, "", message)
    return replace(source.problem(steps, rest), path=where)


def source_of(loaded: Loaded, name: str) -> ConfigSource:
    """Return where the parts of a configuration in use are written; a file is read again.

    Args:
        name: the name of a configuration without a file.
    """
    if loaded.file is not None:
        try:
            return _read(loaded.file, loaded.file.parent, None)[0]
        except ConfigError:
            pass  # the file has changed meanwhile
    return ConfigSource(name if loaded.file is None else str(loaded.file), None, loaded.calls)


def validate(data: Mapping[str, Any], name: str = "gateway", *, base_dir: str | FilePath = ".") -> GatewayConfig:
    """Return the configuration in Python data: the same keys and problems, without line numbers.

    Policies may also be callables and objects. Raises `ConfigError`.
    """
    config, problems = _validated(ConfigSource(name, data), {BASE_DIR: base_dir}, set())
    if config is None:
        raise ConfigError(problems)
    return config


def of_program(source: ConfigSource, problems: Sequence[Problem] = ()) -> Loaded:
    """Return the configuration of a Python program.

    Args:
        source: its data, and the calls that each part comes from.
        problems: those found before.

    Raises:
        ConfigError: with every problem.
    """
    context = {BASE_DIR: "."}
    config, found = _validated(source, context, set())
    if config is None or problems:
        raise ConfigError([*problems, *found], source=source, context=context)
    return Loaded(config, calls=source.values)


def _validated(
    source: ConfigSource, context: dict[str, Any], failed: set[Path]
) -> tuple[GatewayConfig | None, list[Problem]]:
    """Return the configuration or its problems, without those caused by values that could not be read."""
    if not isinstance(source.data, Mapping):
        message, hint = "should be a mapping of keys to values", "begin with 'listen:' or 'routes:'"
        return None, [source.problem((), message, hint)]
    try:
        return validated(lambda data: GatewayConfig.model_validate(data, context=context), source.data), []
    except ValidationError as error:
        if (other := other_gateways.of_data(source.data)) is not None:
            return None, [source.problem((), other, other_gateways.HINT)]
        known = {".".join(map(str, path)) for path in failed}
        find = Homes(source)
        unknown = unknown_keys(error, source.data)[:MAX_KEYS]
        homes = {path: home for path in unknown if (home := find.of(path)) is not None}
        return None, [problem for problem in from_validation(error, source, homes) if problem.path not in known]
