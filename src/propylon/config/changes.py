"""What is different between two configurations, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from propylon.config.load import Loaded


def changes(old: Loaded, new: Loaded) -> tuple[str, ...]:
    """Return what is different in `new`, each in words."""
    fields = type(old.config).model_fields
    return tuple(f"{name}: changed" for name in fields if getattr(old.config, name) != getattr(new.config, name))
