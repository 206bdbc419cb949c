"""The variables of service mode, and the rules between them.

Rules of the file: an empty variable counts as unset. A variable for a missing feature is refused with a message: a
gateway configured to check tokens must not serve without doing so.
"""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, ValidationInfo, WithJsonSchema

from propylon.address import AddressError, EndpointAddress, ListenAddress
from propylon.config.problems import suggest
from propylon.config.schema.base import Finding, Model, complete
from propylon.config.schema.gateway import ServiceName
from propylon.config.types import ServiceUrl
from propylon.config.units import MAX_DURATION_SECONDS

MIN_SECRET_CHARACTERS: Final = 32
MAX_MILLISECONDS: Final = int(MAX_DURATION_SECONDS) * 1000
MAX_BYTES: Final = 2**30

_TRUE: Final = frozenset({"true", "1", "yes", "y", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "n", "off"})
_LEVELS: Final = {
    "fatal": "critical",
    "error": "error",
    "warn": "warning",
    "info": "info",
    "debug": "debug",
    "trace": "debug",
    "silent": "critical",
}
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_NO_JSON: Final = "must be valid JSON: an object of names of services, each with a list of URLs"
_EXAMPLE: Final = 'write {"users": ["http://127.0.0.1:3001"]}'

# Variables of features that the gateway does not have. Those of the cache only matter if CACHE_ENABLED is true.
_NOT_YET: Final = {
    "RATE_LIMIT_MAX": "rate limits are not there yet",
    "RATE_LIMIT_WINDOW_MS": "rate limits are not there yet",
    "UNDER_PRESSURE_MAX_EVENT_LOOP_DELAY_MS": "requests are not shed under load yet",
    "UNDER_PRESSURE_MAX_HEAP_USED_BYTES": "requests are not shed under load yet",
    "UNDER_PRESSURE_MAX_RSS_BYTES": "requests are not shed under load yet",
}


def _boolean(value: object) -> bool:
    word = str(value).lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("should be true, 1, yes, y or on; or false, 0, no, n or off")
    return word in _TRUE


def _whole_number(maximum: int) -> PlainValidator:
    def validate(value: object) -> int:
        number = int(str(value)) if _NUMBER.fullmatch(str(value)) else 0
        if not 1 <= number <= maximum:
            raise ValueError(f"should be a whole number from 1 to {maximum}")
        return number

    return PlainValidator(validate)


def _level(value: object) -> str:
    level = _LEVELS.get(str(value))
    if level is None:
        hint = suggest(str(value), _LEVELS)
        raise ValueError(f"should be one of {', '.join(_LEVELS)}{f'; {hint}' if hint else ''}")
    return level


def _host(value: object) -> str:
    host = str(value)
    try:
        return f"[{ip_address(host)}]" if ":" in host else ListenAddress.parse(f"{host}:1").host
    except ValueError:
        raise ValueError("should be an address or a name, such as 0.0.0.0, 127.0.0.1 or ::; the port is PORT") from None


def _secret(value: object) -> str:
    if len(str(value)) < MIN_SECRET_CHARACTERS:
        raise ValueError(f"should have {MIN_SECRET_CHARACTERS} characters or more")
    return str(value)


def _services(value: object) -> object:
    if not isinstance(value, Mapping):
        raise complete(_NO_JSON, _EXAMPLE)
    return value


_NUMBER_SCHEMA: Final = WithJsonSchema({"type": "integer"})
_TEXT_SCHEMA: Final = WithJsonSchema({"type": "string"})

Boolean = Annotated[bool, PlainValidator(_boolean), WithJsonSchema({"type": "boolean"})]
Milliseconds = Annotated[int, _whole_number(MAX_MILLISECONDS), _NUMBER_SCHEMA]
Bytes = Annotated[int, _whole_number(MAX_BYTES), _NUMBER_SCHEMA]
Urls = Annotated[tuple[ServiceUrl, ...], Field(min_length=1)]
Refused = Annotated[str | None, _TEXT_SCHEMA]


class Variables(Model):
    """The variables of service mode. An empty variable counts as unset."""

    model_config = ConfigDict(alias_generator=str.upper)

    upstreams: Annotated[dict[ServiceName, Urls], BeforeValidator(_services)] = Field(
        description="JSON: names of services, each with a list of URLs. A path in a URL is prepended to the request's."
    )
    host: Annotated[str, PlainValidator(_host), _TEXT_SCHEMA] = Field(
        default="0.0.0.0",  # noqa: S104 - what the mode's users expect of a container
        description="The address to listen at; `::` for all addresses of both families.",
    )
    port: Annotated[int, _whole_number(65535), _NUMBER_SCHEMA] = Field(
        default=8080, description="The port to listen at, 1 to 65535."
    )
    node_env: Literal["development", "test", "production"] = Field(
        default="development", description="Only sets the default of AUTH_REQUIRED: true in production."
    )
    log_level: Annotated[str, PlainValidator(_level), _TEXT_SCHEMA] = Field(
        default="info", description="fatal, error, warn, info, debug, trace (as debug) or silent (as fatal)."
    )
    http_proxy_timeout_ms: Milliseconds = Field(
        default=30_000, description="Timeout of a service for the head of its response; then 504."
    )
    ws_max_buffered_bytes: Bytes = Field(
        default=2_000_000, description="Unsent bytes of a WebSocket at which both sides are closed with 1013."
    )
    ws_ping_interval_ms: Milliseconds = Field(
        default=30_000, description="How long a side of a WebSocket may be silent before it is pinged."
    )
    auth_required: Boolean | None = Field(
        default=None, description="Only false for now: tokens cannot be checked yet. Required in production."
    )
    jwt_secret: Annotated[str, PlainValidator(_secret), _TEXT_SCHEMA] | None = Field(
        default=None, description="32 characters or more. Not used yet, so only accepted with AUTH_REQUIRED=false."
    )
    rate_limit_max: Refused = Field(default=None, description="Refused: there are no rate limits yet.")
    rate_limit_window_ms: Refused = Field(default=None, description="Refused: there are no rate limits yet.")
    cache_enabled: Boolean = Field(default=False, description="Only false for now: there is no cache yet.")
    cache_default_ttl_ms: Milliseconds = Field(default=5_000, description="Not used while the cache is off.")
    cache_max_body_bytes: Bytes = Field(default=262_144, description="Not used while the cache is off.")
    under_pressure_max_event_loop_delay_ms: Refused = Field(
        default=None, description="Refused: requests are not shed under load yet."
    )
    under_pressure_max_heap_used_bytes: Refused = Field(
        default=None, description="Refused: requests are not shed under load yet."
    )
    under_pressure_max_rss_bytes: Refused = Field(
        default=None, description="Refused: requests are not shed under load yet."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """Missing features are refused."""
        yield from _upstream_findings(data.get("UPSTREAMS"))
        yield from _auth_findings(data)
        for name, reason in _NOT_YET.items():
            if name in data:
                yield Finding((name,), reason, f"remove {name}")
        if str(data.get("CACHE_ENABLED")).lower() in _TRUE:
            yield Finding(("CACHE_ENABLED",), "there is no cache yet", "set CACHE_ENABLED=false, or remove it")


def _upstream_findings(services: object) -> Iterator[Finding]:
    """URLs must be unique, as a duplicate would get a double share; invalid ones are reported elsewhere."""
    for name, urls in services.items() if isinstance(services, Mapping) else ():
        seen: set[EndpointAddress] = set()
        for index, url in enumerate(urls if isinstance(urls, list) else ()):
            try:
                address = EndpointAddress.parse(str(url))
            except AddressError:
                continue
            if address in seen:
                yield Finding(("UPSTREAMS", name, index), f"{address} is listed twice", "remove one")
            seen.add(address)


def _auth_findings(data: Mapping[str, Any]) -> Iterator[Finding]:
    required = str(data["AUTH_REQUIRED"]).lower() if "AUTH_REQUIRED" in data else None
    way_out = "set AUTH_REQUIRED=false if the services check them"
    if required in _TRUE:
        yield Finding(("AUTH_REQUIRED",), "tokens cannot be checked yet, so nobody would be let in", way_out)
    if required is None and data.get("NODE_ENV") == "production":
        yield Finding(("NODE_ENV",), "in production AUTH_REQUIRED is true, and tokens cannot be checked yet", way_out)
    if "JWT_SECRET" in data and required not in _FALSE:
        yield Finding(("JWT_SECRET",), "tokens cannot be checked yet", f"remove it, or {way_out}")
