"""The scalar types of the configuration, for the models here and for the `Config` of any policy.

Each is the type for programs (seconds, bytes, a network), with the validator that parses the written form. Rules of the
file: validators raise `ValueError` and say what to write instead; booleans and whole numbers are not coerced: `no` and
`"5"` are text.
"""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    Strict,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from propylon.address import ListenAddress
from propylon.config import addresses, units

DURATION_SCHEMA: Final[dict[str, Any]] = {
    "type": ["string", "number"],
    "pattern": units.DURATION_PATTERN,
    "minimum": 0,
    "maximum": units.MAX_DURATION_SECONDS,
    "examples": ["250ms", "5s", "1m", "1h"],
}
SIZE_SCHEMA: Final[dict[str, Any]] = {
    "type": ["string", "integer"],
    "pattern": units.SIZE_PATTERN,
    "minimum": 0,
    "maximum": units.MAX_SIZE_BYTES,
    "examples": ["64KiB", "10MB"],
}
_STATUS_SCHEMA = {"type": ["integer", "string"], "minimum": 100, "maximum": 599, "pattern": units.STATUS_PATTERN}

_NETWORK = "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$"

# The key of the configuration's folder in the validation context, which relative paths refer to.
BASE_DIR = "base_dir"
# True in the validation context of a file, where an empty value is more likely an omission than "none".
FROM_FILE = "from_file"


def _refusing_empty(parse: Callable[[object], Any]) -> Callable[[object, ValidationInfo], Any]:
    def validate(value: object, info: ValidationInfo) -> Any:
        if value is None and info.context and info.context.get(FROM_FILE):
            raise ValueError("has no value: write 'none' to switch it off, or remove the key")
        return parse(value)

    return validate


def _or_none(schema: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({**schema, "pattern": f"^none$|{schema['pattern']}"})


Duration: TypeAlias = Annotated[float, PlainValidator(units.parse_duration), WithJsonSchema(DURATION_SCHEMA)]
"""Seconds, written as `250ms`, `5s`, `1m`, `1h` or a number of seconds."""

OptionalDuration: TypeAlias = Annotated[
    float | None, PlainValidator(_refusing_empty(units.parse_optional_duration)), _or_none(DURATION_SCHEMA)
]
"""Seconds, or `None` when written as `none` or 0."""

Size: TypeAlias = Annotated[int, PlainValidator(units.parse_size), WithJsonSchema(SIZE_SCHEMA)]
"""Bytes, written as `64KiB`, `10MB` or a number of bytes."""

OptionalSize: TypeAlias = Annotated[
    int | None, PlainValidator(_refusing_empty(units.parse_optional_size)), _or_none(SIZE_SCHEMA)
]
"""Bytes, or `None` when written as `none` or 0."""


Percent: TypeAlias = Annotated[
    float,
    PlainValidator(units.parse_percent),
    WithJsonSchema({"type": "string", "pattern": units.PERCENT_PATTERN, "examples": ["20%", "0.5%"]}),
]
"""A share of 0 to 1, written as `20%`."""

Statuses: TypeAlias = Annotated[
    frozenset[int],
    PlainValidator(units.parse_statuses),
    PlainSerializer(sorted),
    WithJsonSchema(
        {
            **_STATUS_SCHEMA,
            "type": ["array", "integer", "string"],
            "items": _STATUS_SCHEMA,
            "examples": [[502, 503], "5xx", "500-504"],
        }
    ),
]
"""HTTP statuses, written as `503`, `5xx` or `500-504`, or a list of these."""


def _count_or_none(value: object) -> object:
    return None if value in ("none", 0) and value is not False else value


Bool: TypeAlias = Annotated[bool, Strict()]
"""`true` or `false` and nothing else: `no` is a string in YAML 1.2."""

Int: TypeAlias = Annotated[int, Strict()]
"""A whole number, not text."""

OptionalCount: TypeAlias = Annotated[
    Annotated[int, Strict(), Field(ge=0)] | None,
    BeforeValidator(_refusing_empty(_count_or_none)),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"const": "none"}]}),
]
"""A whole number, or `None` when written as `none` or 0."""

Text: TypeAlias = Annotated[str, Strict(), Field(min_length=1)]
"""Text that is not empty."""


def one_or_more(value: Any) -> Any:
    """Accept one text instead of a list."""
    return [value] if isinstance(value, str) else value


class _OneOrMore:
    """Marks lists that may be written as one text."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(one_or_more, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        array = handler(schema)
        items = array["items"]
        return {"anyOf": [*(each for each in items.get("anyOf", [items]) if "$ref" not in each), array]}


_Item = TypeVar("_Item")

Listed: TypeAlias = Annotated[tuple[_Item, ...], _OneOrMore()]
"""A list; one text may be written without the brackets."""

ListedSome: TypeAlias = Annotated[tuple[_Item, ...], Field(min_length=1), _OneOrMore()]
"""A list that is not empty; one text may be written without the brackets."""


class ServiceMark:
    """Marks model fields that hold the name of a service (in `typing.Annotated`)."""


SERVICE: Final = ServiceMark()

ServiceRef: TypeAlias = Annotated[str, Strict(), Field(min_length=1), SERVICE]
"""The name of a service; `schema/service_refs.py` checks that it exists."""

Cidr: TypeAlias = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(addresses.parse_cidr),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": _NETWORK, "examples": ["10.0.0.0/8", "2001:db8::/32"]}),
]
"""A network, written as `10.0.0.0/8`, or as one address."""


def short_form(*types: str, schema: dict[str, Any] | None = None) -> Callable[[dict[str, Any]], None]:
    """Return a function that adds a bare value to the JSON Schema of a policy's settings.

    For `json_schema_extra` of a `Config` that accepts one, such as `body_limit: 10MB`.

    Args:
        types: the JSON types of the value.
        schema: its JSON Schema, instead of its types.
    """
    form = {"type": list(types)} if schema is None else schema

    def extend(settings: dict[str, Any]) -> None:
        full = dict(settings)
        settings.clear()
        settings["anyOf"] = [full, form]

    return extend


TrustedPeer: TypeAlias = Annotated[
    IPv4Network | IPv6Network | Literal["unix"],
    PlainValidator(addresses.parse_trusted),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": f"^unix$|{_NETWORK}", "examples": ["10.0.0.0/8", "unix"]}),
]
"""A network of proxies, or `unix` for all peers on a Unix socket."""

Listen: TypeAlias = Annotated[
    ListenAddress,
    PlainValidator(addresses.parse_listen_address),
    PlainSerializer(str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^unix:/.|^[^/]*:[0-9]{1,5}$",
            "examples": ["127.0.0.1:8080", ":8080", "[::1]:8080", "unix:/run/p.sock"],
        }
    ),
]
"""The address of a listener."""

DnsServer: TypeAlias = Annotated[
    str,
    PlainValidator(addresses.check_dns_server),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:53"]}),
]
"""The address of a DNS server with its port, 53 by default."""

ServiceUrl: TypeAlias = Annotated[
    str,
    PlainValidator(addresses.check_endpoint_url),
    WithJsonSchema(
        {"type": "string", "pattern": "^([Hh][Tt][Tt][Pp][Ss]?://|unix:).", "examples": ["http://127.0.0.1:3001"]}
    ),
]
"""The URL of an endpoint: `http://`, `https://` or `unix:`."""

TargetUrl: TypeAlias = Annotated[
    str,
    PlainValidator(addresses.check_target),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^([Hh][Tt][Tt][Pp][Ss]?://|unix:|asgi:).",
            "examples": ["http://127.0.0.1:3001", "asgi:main:app"],
        }
    ),
]
"""The URL of an endpoint, or `asgi:` and the `module:name` of an ASGI application."""


def _existing_file(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, Path):
        path = value
    elif isinstance(value, str) and value and "\0" not in value:
        path = Path(value)
    else:
        raise ValueError("not the path of a file")
    path = Path((info.context or {}).get(BASE_DIR) or ".", path).absolute()
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror} ({path})") from None


ExistingFile: TypeAlias = Annotated[
    Path,
    PlainValidator(_existing_file),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "format": "path", "examples": ["errors/404.html"]}),
]
"""The absolute path of a readable file; a relative one refers to the folder of the configuration file."""


def _existing_directory(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("not the path of a directory")
    path = Path((info.context or {}).get(BASE_DIR) or ".", value).absolute()
    if not path.is_dir():
        raise ValueError(f"not a directory ({path})")
    return path


ExistingDirectory: TypeAlias = Annotated[
    Path,
    PlainValidator(_existing_directory),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "format": "path", "examples": ["dist"]}),
]
"""The absolute path of a directory; a relative one refers to the folder of the configuration file."""
