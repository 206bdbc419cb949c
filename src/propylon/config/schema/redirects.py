"""`redirects`: how URLs in responses of services are changed for clients."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator

_BEGIN: Final = re.compile(r"(?:https?:)?//[!-~]+|/[!-~]*")
_FORMS: Final = "write 'default', 'off', or {BEGINNING: REPLACEMENT}, each a URL or a path that begins with '/'"


def _redirects(value: Any) -> Any:
    if value in ("default", "off"):
        return value
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"should be 'default', 'off' or replacements: {_FORMS}")
    for pair in value.items():
        for part in pair:
            if not isinstance(part, str) or not _BEGIN.fullmatch(part):
                raise ValueError(f"{part!r} is no beginning of a URL: {_FORMS}")
    return dict(value)


Redirects = Annotated[
    Literal["default", "off"] | dict[str, str],
    BeforeValidator(_redirects, json_schema_input_type=Literal["default", "off"] | dict[str, str]),
]
"""`default`, `off`, or replacements of beginnings of URLs."""
