"""`module:name`, the way configuration points at Python."""

from __future__ import annotations

import importlib
from typing import Any


def import_object(reference: str) -> Any:
    """Import what `module:name` stands for; the name may have dots.

    Raises:
        ImportError, AttributeError: there is no such module, or nothing of that name in it.
    """
    module, _, name = reference.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
