"""Configurations in texts, loaded as the files that they are in a gateway."""

from __future__ import annotations

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from propylon.config import document, resolve
from propylon.config.load import load
from propylon.config.problems import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from propylon.config.schema import GatewayConfig


def load_text(
    text: str, name: str = "gateway.yaml", *, base_dir: Path = Path(), environment: Mapping[str, str] | None = None
) -> GatewayConfig:
    """Write a text to a file that problems call `name`, and load it; files it names are in `base_dir`."""
    folder = base_dir.absolute()
    with TemporaryDirectory() as place, contextlib.chdir(place):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return load(path, base_dir=folder, environment=environment).config


def written(text: str) -> Any:
    """Return the data of a file as editors see it: with anchors and merge keys, without variables and secrets."""
    root = document.parse(text, "gateway.yaml")
    assert root is not None
    with (
        mock.patch.object(resolve, "substitute", lambda value, *_: value),
        mock.patch.object(resolve, "_SECRET_KEYS", frozenset()),
    ):
        return resolve.Resolver("gateway.yaml", Path(), {}).source(root).data


def problem_lines(text: str, folder: Path) -> list[str]:
    """Return `line:column: path: message, hint` of each problem of a file with this text."""
    file = folder / "gateway.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(file)
    return [str(problem).removeprefix(f"{file}:") for problem in raised.value.problems]


def assert_problems(text: str, expected: list[str], folder: Path) -> None:
    """A file with this text has these problems and no others; the beginning of each is enough."""
    found = problem_lines(text, folder)
    assert len(found) == len(expected), found
    for one, beginning in zip(found, expected, strict=True):
        assert one.startswith(beginning)
