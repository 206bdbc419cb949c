"""`health`: how a service determines the health of its endpoints."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from propylon.config.schema.base import Finding, Model
from propylon.config.schema.between import of_no_use, too_short
from propylon.config.schema.matching import FieldName, FieldValue, Method
from propylon.config.types import Bool, Duration, Int, OptionalCount, Percent, Statuses, Text

ACTIVE_KEYS = ("path", "tcp")
HTTP_KEYS = ("method", "headers", "statuses", "body")

_PATH: Final = re.compile(r"/[\x21\x22\x24-\x7e]*")


def _path(value: str) -> str:
    if not _PATH.fullmatch(value):
        raise ValueError("not a path: write /healthz, with spaces and other special characters as %XX")
    return value


class PassiveHealthConfig(Model):
    """When failures of real requests eject an endpoint, and for how long."""

    enabled: Bool = Field(default=True, description="Whether failing endpoints are ejected at all.")
    consecutive: OptionalCount = Field(default=5, description="Failures in a row.")
    failure_rate: Annotated[Percent, Field(gt=0)] | None = Field(
        default=None, description="Share of failures within the window."
    )
    minimum: Annotated[Int, Field(ge=1)] = Field(
        default=20, description="Requests in the window before the rate counts."
    )
    window: Annotated[Duration, Field(gt=0)] = Field(default=30.0, description="Time span of the rate.")
    statuses: Statuses = Field(
        default=frozenset((502, 503, 504)), description="Responses that count as failures, besides missing ones."
    )
    eject: Annotated[Duration, Field(gt=0)] = Field(
        default=10.0, description="Length of the first ejection; each further one in a row is longer by that much."
    )
    max_eject: Duration = Field(default=300.0, description="Maximum length of an ejection.")
    max_ejected: Percent = Field(
        default=0.5, description="Share of the endpoints that may be ejected at the same time."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """At least one rule is required, and settings of a rule require that rule."""
        yield from of_no_use(data, ("minimum", "window"), ("failure_rate",))
        if "max_eject" in data:  # by default, it is not below 'eject'
            yield from too_short(data, "max_eject", "eject", cls)
        if data.get("consecutive") in ("none", 0) and data.get("failure_rate") is None:
            yield Finding(("consecutive",), "no rule is left that puts an endpoint aside", "write 'passive: false'")


def _passive(value: Any) -> Any:
    if isinstance(value, bool):
        return {"enabled": value}
    if isinstance(value, Mapping | PassiveHealthConfig):
        return value
    raise ValueError("should be true, false, or settings: write {consecutive: 5}")


class HealthConfig(Model):
    """Health checks by requests of the gateway's own (active) and by the results of client requests (passive)."""

    path: Annotated[Text, AfterValidator(_path)] | None = Field(
        default=None, description="Path of the check, below the endpoint's own."
    )
    tcp: Bool = Field(default=False, description="Only open a connection, instead of sending a request.")
    method: Method = Field(default="GET", description="Method of the check.")
    headers: dict[FieldName, FieldValue] = Field(default={}, description="Header fields of the check.")
    port: Annotated[Int, Field(ge=1, le=65535)] | None = Field(
        default=None, description="Port to check, if it is not the endpoint's own."
    )
    statuses: Statuses = Field(default=frozenset(range(200, 400)), description="Statuses of a healthy endpoint.")
    body: Text | None = Field(default=None, description="Text that the first 64 KiB of the response must contain.")
    interval: Annotated[Duration, Field(ge=0.1)] = Field(
        default=10.0, description="Time between two checks, with 10% jitter."
    )
    timeout: Annotated[Duration, Field(gt=0)] = Field(default=2.0, description="Maximum duration of a check.")
    healthy: Annotated[Int, Field(ge=1)] = Field(
        default=2, description="Successful checks in a row until an endpoint is healthy again."
    )
    unhealthy: Annotated[Int, Field(ge=1)] = Field(
        default=3, description="Failed checks in a row until an endpoint is unhealthy."
    )
    passive: Annotated[
        PassiveHealthConfig, BeforeValidator(_passive, json_schema_input_type=bool | PassiveHealthConfig)
    ] = Field(default_factory=PassiveHealthConfig, description="Ejection by results of requests; false to disable it.")

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """Settings of a check require a check."""
        active = [key for key in ACTIVE_KEYS if data.get(key)]
        if len(active) == 2:
            yield Finding(("tcp",), "'path' and 'tcp' exclude each other", "remove one")
        if data.get("tcp"):
            for key in HTTP_KEYS:
                if key in data:
                    yield Finding((key,), f"{key!r} is of no use with 'tcp'", "give 'path' instead of 'tcp'")
        if data.get("method") == "HEAD" and data.get("body") is not None:
            yield Finding(("body",), "the answer to a HEAD has no body", "remove 'method', or 'body'")
        if not active:
            for key in data:
                if key in cls.model_fields and key not in ("passive", *ACTIVE_KEYS):
                    hint = "give 'path: /healthz' or 'tcp: true'"
                    yield Finding((key,), f"{key!r} is of no use without a check", hint, needs=ACTIVE_KEYS)


def _health(value: Any) -> Any:
    """Accept a path alone."""
    if isinstance(value, str):
        return {"path": value}
    if isinstance(value, Mapping | HealthConfig):
        return value
    raise ValueError("should be a path, or settings: write {path: /healthz}")


Health = Annotated[HealthConfig, BeforeValidator(_health, json_schema_input_type=str | HealthConfig)]
