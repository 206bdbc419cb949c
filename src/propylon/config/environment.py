"""Expansion of `${NAME}` and `${NAME:-default}` in values; `$${` is an escaped `${`.

Rules of the file: a default is used when the variable is unset or empty, as in a shell. Inserted values are not
expanded again, so a variable cannot refer to another one.
"""

import re
from collections.abc import Mapping
from typing import Final

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{(?P<inside>[^}]*)(?P<end>\}?)")
_INSIDE: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.ASCII | re.DOTALL)


class EnvironmentProblem(ValueError):
    """A reference without a value, or a malformed one; `hint` is the remedy."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def substitute(text: str, environment: Mapping[str, str], used: set[str] | None = None) -> str:
    """Return the text with every reference replaced by the variable's value, which is added to `used`.

    Raises `EnvironmentProblem` for an unset variable without a default, and for a malformed reference.
    """

    def value(match: re.Match[str]) -> str:
        if match["inside"] is None:
            return "${"
        inside = _INSIDE.fullmatch(match["inside"])
        if inside is None or not match["end"]:
            raise EnvironmentProblem(
                f"{match[0]!r} is no reference to a variable", "write ${NAME} or ${NAME:-default}, or $${ for the text"
            )
        name, default = inside["name"], inside["default"]
        found = environment.get(name)
        if not found and default is not None:
            return default
        if found is None:
            raise EnvironmentProblem(
                f"the environment variable {name} is not set", f"set it, or give a default: ${{{name}:-default}}"
            )
        if used is not None:
            used.add(found)
        return found

    return _REFERENCE.sub(value, text) if "${" in text else text
