"""Problems of the errors that pydantic reports: in our words, each with its position and a hint.

An invalid value is shown, truncated, unless it may be a secret: it came from the environment or a file, or a key on its
path suggests one.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from propylon.config.problems import ConfigSource, Path, Problem, is_secret, located

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_MAX_SHOWN_CHARACTERS: Final = 60
_CREDENTIALS_IN_URL: Final = re.compile(r"//[^/\s]*@")
# Keys in the context of validation errors: the keys of which one is missing, how many steps below their model the error
# is located, and the keys that an unknown key stands for. The texts of messages cannot refer to them.
NEEDS: Final = "needs!"
DEPTH: Final = "depth!"
MEANS: Final = "means!"

_TEXT_WANTED: Final = "string_type"
# Appended by pydantic to the location of an invalid key of a mapping.
_KEY: Final = "[key]"
# Errors with a complete message, which needs no value.
_WITHOUT_VALUE: Final = frozenset({"complete", "unknown_key", "missing", "too_short"})
_MESSAGES: Final = {
    "missing": "required key is missing",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "string_type": "should be text",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "dict_type": "should be a mapping of keys to values",
    "model_type": "should be a mapping of keys to values",
    "model_attributes_type": "should be a mapping of keys to values",
    "string_too_short": "should not be empty",
    "string_pattern_mismatch": "has characters that are not allowed here",
    "too_short": "should not be empty",
}


def from_validation(
    error: "ValidationError", source: ConfigSource, homes: Mapping[Path, tuple[Path, str]] | None = None
) -> list[Problem]:
    """Return the problems of a validation error.

    Those of a union's members for one value become one problem. A key that is missing because another one is misspelt
    or misplaced is none of its own.

    Args:
        homes: for each misplaced key the mapping that it belongs to, with a hint.
    """
    homes = homes or {}
    found: dict[Path, Problem] = {}
    parts = _without_follow_ons(error.errors(include_url=False), source.data, homes)
    for part in parts:
        kind, loc = part["type"], part["loc"]
        if kind == "too_short" and any(other["loc"][: len(loc)] == loc != other["loc"] for other in parts):
            continue  # the errors of its items are reported
        path, value = located(loc, source.data, keep_last=kind in ("missing", "unknown_key"))
        is_key = loc[-1:] == (_KEY,)
        if is_key:
            value = path[-1]
        message = _MESSAGES.get(kind) or _reworded(part["msg"])
        hint = part.get("ctx", {}).get("hint") or _hint(kind, value)
        if path in homes and kind == "unknown_key":
            hint = homes[path][1]
        if kind not in _WITHOUT_VALUE:
            message += _shown(value, path, source)
        problem = source.problem(path, message, hint, at_key=is_key or kind == "unknown_key")
        same = (*path, message) if is_key or kind in _WITHOUT_VALUE else path
        before = found.get(same)
        if before is not None and before.message != problem.message:
            problem = source.problem(path, f"{_without_value(before.message)} or {problem.message}", problem.hint)
        found[same] = problem
    return list(found.values())


def unknown_keys(error: "ValidationError", data: Any) -> list[Path]:
    """Return the paths of the unknown keys that a validation error reports."""
    parts = error.errors(include_url=False)
    return [located(part["loc"], data, keep_last=True)[0] for part in parts if part["type"] == "unknown_key"]


def _without_follow_ons(
    parts: "list[ErrorDetails]", data: Any, homes: Mapping[Path, tuple[Path, str]]
) -> "list[ErrorDetails]":
    """Return the errors without those of keys that an unknown key beside them, or elsewhere, stands for."""
    meant: dict[Path, set[str]] = {}
    for path, (home, _) in homes.items():
        meant.setdefault(home, set()).add(str(path[-1]))
    for part in parts:
        keys = part.get("ctx", {}).get(MEANS, ())
        if keys and located(part["loc"], data, keep_last=True)[0] not in homes:
            meant.setdefault(located(part["loc"][:-1], data)[0], set()).update(keys)

    def follows(part: "ErrorDetails") -> bool:
        context, loc = part.get("ctx", {}), part["loc"]
        needs, depth = context.get(NEEDS, ()), context.get(DEPTH, 0)
        if part["type"] == "missing":
            needs, depth = (loc[-1],), 1
        return not meant.get(located(loc[: len(loc) - depth], data)[0], set()).isdisjoint(needs)

    return [part for part in parts if not follows(part)]


def _reworded(message: str) -> str:
    for prefix, instead in (("Value error, ", ""), ("Assertion failed, ", ""), ("Input should be ", "should be ")):
        if message.startswith(prefix):
            return instead + message.removeprefix(prefix)
    return message


def _hint(kind: str, value: Any) -> str | None:
    if kind == "tuple_type" and isinstance(value, Mapping):
        return "begin each item with '- '"
    if kind in ("dict_type", "model_type") and isinstance(value, list | tuple):
        return "write 'NAME: value' in lines of their own, without '- '"
    if kind == _TEXT_WANTED and isinstance(value, bool | int | float):
        return "put it in quotes"
    return None


def _shown(value: Any, path: Path, source: ConfigSource) -> str:
    if isinstance(value, Mapping | list | tuple) or (value is not None and not isinstance(value, str | int | float)):
        return ""
    if path in source.secrets or any(isinstance(step, str) and is_secret(step) for step in path):
        return ""
    if value is None:
        return " (got nothing)"
    if isinstance(value, bool):
        return f" (got {str(value).lower()})"
    text = repr(_CREDENTIALS_IN_URL.sub("//***@", value) if isinstance(value, str) else value)
    return f" (got {text if len(text) <= _MAX_SHOWN_CHARACTERS else text[:_MAX_SHOWN_CHARACTERS] + '...'})"


def _without_value(message: str) -> str:
    return message.partition(" (got ")[0]
