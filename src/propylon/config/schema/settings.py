"""Settings of the gateway itself: limits, timeouts, forwarding fields, DNS, errors and log."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema

from propylon.config import units
from propylon.config.schema.base import Finding, Model
from propylon.config.schema.matching import FieldName
from propylon.config.types import Bool, DnsServer, Duration, ExistingFile, Listed, OptionalCount, OptionalDuration, Size
from propylon.http.claims import Names
from propylon.http.request_head import RESERVED
from propylon.http.target import PathRules

DEFAULT_SERVICES_JSON = "/services.json"


def _claim(value: str) -> str:
    names = Names([value])
    if any(name in names for name in RESERVED):
        raise ValueError("the gateway evaluates this header itself, from any client")
    if "*" in value.removesuffix("*") or value == "*":
        raise ValueError("'*' may only stand at the end, as in x-acme-*")
    return value


Claim = Annotated[FieldName, AfterValidator(_claim)]
"""The name of a header that tells who the client is, or the beginning of such names."""


class ForwardedConfig(Model):
    """Fields that carry information about the client to services."""

    x_forwarded: Bool = Field(default=True, description="Send X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host.")
    standard: Bool = Field(default=False, description="Send Forwarded (RFC 7239).")
    via: Bool = Field(default=True, description="Send Via (RFC 9110, section 7.6.3).")
    claims: tuple[Claim, ...] = Field(
        default=(),
        description="More headers that only trusted proxies may send, besides those that are known; x-acme-* for all "
        "that begin so.",
    )


class PathsConfig(Model):
    """Handling of ambiguous paths."""

    encoded_slashes: Literal["refuse", "keep"] = Field(
        default="refuse", description="A path with %2F: refuse it with 400, or keep it encoded."
    )
    semicolons: Literal["refuse", "keep"] = Field(
        default="refuse", description="A path with ';': refuse it with 400, or keep it as it is."
    )
    double_slashes: Literal["merge", "keep"] = Field(
        default="merge",
        description="'//' inside a path: make it '/', or keep it; routes match as if it were '/'.",
    )
    invalid_utf8: Literal["refuse", "keep"] = Field(
        default="refuse",
        description="A path with escapes that are not UTF-8, as %E9: refuse it with 400, or keep it.",
    )
    raw_utf8: Literal["refuse", "encode"] = Field(
        default="refuse",
        description="UTF-8 that is not percent-encoded, in path or query: refuse it with 400, or encode it.",
    )

    def rules(self, route: "RoutePathsConfig | None" = None) -> PathRules:
        """Return the rules for paths, those of a route in preference."""
        chosen = {name: getattr(route, name, None) or getattr(self, name) for name in PathsConfig.model_fields}
        return PathRules(**{name: value in ("keep", "encode") for name, value in chosen.items()})


class RoutePathsConfig(Model):
    """Handling of ambiguous paths of one route; keys that are not given are those of the gateway's 'paths'."""

    encoded_slashes: Literal["refuse", "keep"] | None = Field(
        default=None, description="A path with %2F: refuse it with 400, or keep it encoded."
    )
    semicolons: Literal["refuse", "keep"] | None = Field(
        default=None, description="A path with ';': refuse it with 400, or keep it as it is."
    )
    double_slashes: Literal["merge", "keep"] | None = Field(
        default=None,
        description="'//' inside a path: make it '/', or keep it; routes match as if it were '/'.",
    )
    invalid_utf8: Literal["refuse", "keep"] | None = Field(
        default=None, description="A path with escapes that are not UTF-8, as %E9: refuse it with 400, or keep it."
    )
    raw_utf8: Literal["refuse", "encode"] | None = Field(
        default=None,
        description="UTF-8 that is not percent-encoded, in path or query: refuse it with 400, or encode it.",
    )


class FieldNamesConfig(Model):
    """Handling of header names that some services confuse with others, or compare by case."""

    underscores: Literal["refuse", "drop", "keep"] = Field(
        default="refuse",
        description="A header name with '_' or '.': refuse the request with 400, drop the header, or keep it.",
    )
    case: Literal["lower", "title"] = Field(
        default="lower",
        description="How names without capitals are sent: content-length (lower), or Content-Length (title), "
        "for devices that compare by case.",
    )


class LimitsConfig(Model):
    """Limits of request heads, buffers and client connections."""

    request_line: Size = Field(default=8 * 1024, description="Size of the request line; more is answered with 414.")
    header_block: Size = Field(
        default=32 * 1024, description="Size of all headers together; more is answered with 431."
    )
    header_count: Annotated[int, Field(strict=True, ge=1, le=10_000)] = Field(
        default=100, description="Number of headers; more is answered with 431."
    )
    pipeline_buffer: Size = Field(
        default=64 * 1024, description="Bytes of pipelined requests that are buffered during an exchange."
    )
    write_buffer: Size = Field(
        default=256 * 1024,
        description="Unsent bytes buffered for a connection; above it, the source is not read (backpressure).",
    )
    connections: OptionalCount = Field(
        default=None, description="Client connections of a worker, or none for no limit."
    )


class TimeoutsConfig(Model):
    """How long the gateway waits for clients. Timeouts of services are set by the policy `timeout`."""

    header: OptionalDuration = Field(default=10.0, description="For a request's head, from its first byte to its last.")
    keep_alive: OptionalDuration = Field(default=75.0, description="For the next request on an idle connection.")
    write: OptionalDuration = Field(
        default=60.0, description="For a client that reads or acknowledges nothing of its response."
    )
    body: OptionalDuration = Field(default=60.0, description="For the next bytes of a request's body.")
    linger: OptionalDuration = Field(
        default=5.0, description="For data that a client still sends after its last response."
    )
    drain: OptionalDuration = Field(default=30.0, description="For exchanges in flight when the gateway stops.")
    tcp_keepalive: OptionalDuration = Field(
        default=30.0,
        description="Silence of a client after which the system probes whether it is there (TCP keepalive).",
    )
    tcp_user_timeout: OptionalDuration = Field(
        default=None,
        description="TCP_USER_TIMEOUT of connections from clients; it also ends those of very slow readers.",
    )


class DnsConfig(Model):
    """How the names of endpoints are resolved."""

    servers: Listed[DnsServer] = Field(default=(), description="DNS servers; by default those of the system.")
    min_ttl: Duration = Field(default=1.0, description="Minimum time that an answer is used.")
    max_ttl: Duration = Field(default=300.0, description="Maximum time that an answer is used.")
    refuse_private: Bool = Field(
        default=False,
        description="Ignore private, loopback, link-local and other non-public addresses.",
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """The minimum must not exceed the maximum."""
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
    """How the gateway's own errors are shown to clients."""

    pages: dict[ErrorStatus, ExistingFile] = Field(
        default={},
        description='Files to respond with, by status ("404") or class ("5xx"); a status takes precedence.',
    )


class LogConfig(Model):
    """The gateway's log."""

    level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        default="info", description="Minimum level of the messages that are written."
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
