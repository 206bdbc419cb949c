"""The settings of the gateway itself: what it accepts, for how long, and what it tells services and people."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema

from propylon.config import units
from propylon.config.schema.base import Finding, Model
from propylon.config.types import Bool, DnsServer, Duration, ExistingFile, OptionalCount, OptionalDuration, Size

DEFAULT_SERVICES_JSON = "/services.json"


class ForwardedConfig(Model):
    """Which fields tell a service about the client."""

    x_forwarded: Bool = Field(default=True, description="Send X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host.")
    standard: Bool = Field(default=False, description="Send Forwarded (RFC 7239).")
    via: Bool = Field(default=True, description="Send Via (RFC 9110, section 7.6.3).")


class PathsConfig(Model):
    """What is done with ambiguous paths."""

    encoded_slashes: Literal["refuse", "keep"] = Field(
        default="refuse", description="A path with %2F: refuse it with 400, or keep it encoded."
    )
    semicolons: Literal["refuse", "keep"] = Field(
        default="refuse", description="A path with ';': refuse it with 400, or keep it as it is."
    )


class FieldNamesConfig(Model):
    """What is done with header names that some services cannot tell apart from others."""

    underscores: Literal["refuse", "drop", "keep"] = Field(
        default="refuse",
        description="A header name with '_' or '.': refuse the request with 400, drop the header, or keep it.",
    )


class LimitsConfig(Model):
    """How much a client may send before the body, how much is held, and how many may connect."""

    request_line: Size = Field(default=8 * 1024, description="Size of the request line; more is answered with 414.")
    header_block: Size = Field(
        default=32 * 1024, description="Size of all headers together; more is answered with 431."
    )
    header_count: Annotated[int, Field(strict=True, ge=1, le=10_000)] = Field(
        default=100, description="Number of headers; more is answered with 431."
    )
    pipeline_buffer: Size = Field(
        default=64 * 1024, description="Bytes of further requests that are held while one is being answered."
    )
    write_buffer: Size = Field(
        default=256 * 1024,
        description="Bytes written to a connection that its peer has not taken yet; beyond it, the source is not read.",
    )
    connections: OptionalCount = Field(
        default=None, description="Client connections of a worker, or none for no limit."
    )


class TimeoutsConfig(Model):
    """How long the gateway waits for a client. What it waits for a service is set by the policy `timeout`."""

    header: OptionalDuration = Field(default=10.0, description="For a request's head, from its first byte to its last.")
    keep_alive: OptionalDuration = Field(default=75.0, description="For the next request on an idle connection.")
    write: OptionalDuration = Field(default=60.0, description="For a client that reads nothing of its response.")
    body: OptionalDuration = Field(default=60.0, description="For the next bytes of a request's body.")
    linger: OptionalDuration = Field(default=5.0, description="For what a client still sends after its last response.")
    drain: OptionalDuration = Field(default=30.0, description="For open exchanges when the gateway stops.")


class DnsConfig(Model):
    """How the names of endpoints are resolved."""

    servers: tuple[DnsServer, ...] = Field(
        default=(), description="DNS servers to ask; the system's when there are none."
    )
    min_ttl: Duration = Field(default=1.0, description="An answer is used at least this long.")
    max_ttl: Duration = Field(default=300.0, description="An answer is used at most this long.")
    refuse_private: Bool = Field(
        default=False,
        description="Leave out private, loopback, link-local and other addresses that are not public.",
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """A minimum above the maximum is a mistake, not an order."""
        try:
            low, high = (units.parse_duration(data.get(key, cls.model_fields[key].default)) for key in _TTLS)
        except ValueError:
            return
        if low > high:
            key = "min_ttl" if "min_ttl" in data else "max_ttl"
            yield Finding((key,), "min_ttl is longer than max_ttl")


_TTLS = ("min_ttl", "max_ttl")


def _error_status(value: str) -> str:
    if not re.fullmatch(r"[45](?:[0-9]{2}|xx)", value, re.ASCII):
        raise ValueError("should be a status such as 404, or a class: 4xx or 5xx")
    return value


ErrorStatus = Annotated[str, AfterValidator(_error_status)]


class ErrorsConfig(Model):
    """What clients see of the gateway's own errors."""

    pages: dict[ErrorStatus, ExistingFile] = Field(
        default={},
        description='Files to answer with, by status ("404") or class ("5xx"); a status wins over its class.',
    )


class LogConfig(Model):
    """What the gateway writes about itself."""

    level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        default="info", description="The least important messages that are written."
    )


def _services_json(value: object) -> str | None:
    if value is True:
        return DEFAULT_SERVICES_JSON
    if value is False or value is None:
        return None
    if isinstance(value, str) and value.startswith("/") and not any(char in value for char in "?#*{} "):
        return value
    raise ValueError("should be true, false or a path such as /services.json")


ServicesJson = Annotated[
    str | None, PlainValidator(_services_json), WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string"}]})
]
"""The path of the list of services, or `None`: written as true, false or a path."""
