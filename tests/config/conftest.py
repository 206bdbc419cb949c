"""A policy from another package, as an entry point would bring it."""

from types import SimpleNamespace
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict

from propylon.plugins import POLICIES


class Depth(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    metres: int = 0


class ColourConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    shade: Literal["light", "dark"] = "light"
    depth: Depth | int = 0
    password: str | None = None


class Colour:
    """Colours."""

    def __init__(self, config: ColourConfig) -> None:
        self.config = config

    def on_request(self, x: Any) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True)
def colour(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(Config=ColourConfig, Policy=Colour)
    broken = SimpleNamespace(Config=ColourConfig)
    points = {"colour": SimpleNamespace(load=lambda: module), "broken": SimpleNamespace(load=lambda: broken)}
    monkeypatch.setattr(POLICIES, "_entry_points", points)
