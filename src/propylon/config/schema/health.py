"""`health`: how a service finds out which of its endpoints are well."""

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
    """When failures of real requests put an endpoint aside, and for how long."""

    enabled: Bool = Field(default=True, description="Whether failing endpoints are put aside at all.")
    consecutive: OptionalCount = Field(default=5, description="Failures in a row.")
    failure_rate: Annotated[Percent, Field(gt=0)] | None = Field(
        default=None, description="Share of failures within the window."
    )
    minimum: Annotated[Int, Field(ge=1)] = Field(default=20, description="Requests in the window that a rate needs.")
    window: Annotated[Duration, Field(gt=0)] = Field(default=30.0, description="How far a rate looks back.")
    statuses: Statuses = Field(
        default=frozenset((502, 503, 504)), description="Answers that are failures, besides none at all."
    )
    eject: Annotated[Duration, Field(gt=0)] = Field(
        default=10.0, description="How long the first time; each time in a row takes that much longer."
    )
    max_eject: Duration = Field(default=300.0, description="The longest time.")
    max_ejected: Percent = Field(default=0.5, description="Share of the endpoints that may be put aside together.")

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """Some settings belong to a rule, and a rule is needed."""
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
    """Checks that the gateway makes itself (active), and what it learns from requests (passive)."""

    path: Annotated[Text, AfterValidator(_path)] | None = Field(
        default=None, description="Path that is asked for, below the endpoint's own; its answer tells the health."
    )
    tcp: Bool = Field(default=False, description="Only open a connection, instead of asking for a path.")
    method: Method = Field(default="GET", description="Method of the check.")
    headers: dict[FieldName, FieldValue] = Field(default={}, description="Header fields of the check.")
    port: Annotated[Int, Field(ge=1, le=65535)] | None = Field(
        default=None, description="Port to check, if it is not the endpoint's own."
    )
    statuses: Statuses = Field(default=frozenset(range(200, 400)), description="Answers that say it is well.")
    body: Text | None = Field(default=None, description="Text that the answer's first 64 KiB must contain.")
    interval: Annotated[Duration, Field(ge=0.1)] = Field(
        default=10.0, description="From one check to the next; a tenth more or less."
    )
    timeout: Annotated[Duration, Field(gt=0)] = Field(default=2.0, description="How long a check may take.")
    healthy: Annotated[Int, Field(ge=1)] = Field(default=2, description="Good checks in a row that bring one back.")
    unhealthy: Annotated[Int, Field(ge=1)] = Field(default=3, description="Bad ones in a row that put one aside.")
    passive: Annotated[
        PassiveHealthConfig, BeforeValidator(_passive, json_schema_input_type=bool | PassiveHealthConfig)
    ] = Field(default_factory=PassiveHealthConfig, description="What is learned from requests; false for nothing.")

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """Settings of a check need a check."""
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
                    yield Finding((key,), f"{key!r} is of no use without a check", hint)


def _health(value: Any) -> Any:
    """Accept a path alone."""
    if isinstance(value, str):
        return {"path": value}
    if isinstance(value, Mapping | HealthConfig):
        return value
    raise ValueError("should be a path, or settings: write {path: /healthz}")


Health = Annotated[HealthConfig, BeforeValidator(_health, json_schema_input_type=str | HealthConfig)]
