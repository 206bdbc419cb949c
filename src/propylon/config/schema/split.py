"""`split`: one route to several services, each with a share of the requests."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, ValidationInfo

from propylon.config.schema.base import Finding, Model
from propylon.config.schema.key import ClientHeader, CookieName
from propylon.config.types import Bool, Int, OptionalDuration, Text

MAX_SHARE: Final = 1_000_000


def _whole_seconds(value: float | None) -> float | None:
    if value is not None and value < 1:
        raise ValueError("a cookie lives for whole seconds: write 1s or more")
    return value


class StickyConfig(Model):
    """The key of a client's affinity to a service: a header, a cookie or its address."""

    cookie: CookieName | None = Field(
        default=None, description="Name of a cookie, which the gateway sets for clients without one."
    )
    header: ClientHeader | None = Field(
        default=None, description="Name of a header; the service of requests without it is random."
    )
    client: Bool = Field(default=False, description="The client's address.")
    max_age: Annotated[OptionalDuration, AfterValidator(_whole_seconds)] = Field(
        default=None, description="Lifetime of the cookie; a session cookie by default."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """Exactly one key is required; `max_age` requires a cookie."""
        if sum(bool(data.get(key)) for key in ("cookie", "header", "client")) != 1:
            yield Finding(
                (),
                "a split is sticky by {cookie}, {header} or {client: true}",
                "give one of them",
                needs=("cookie", "header", "client"),
            )
        if data.get("max_age") is not None and not data.get("cookie"):
            yield Finding(("max_age",), "'max_age' is of no use without 'cookie'", "remove it")


class ChooseConfig(Model):
    """The field that may select the service: a header or a cookie."""

    header: ClientHeader | None = Field(default=None, description="Name of a header.")
    cookie: CookieName | None = Field(default=None, description="Name of a cookie.")

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """Exactly one field is required."""
        if sum(bool(data.get(key)) for key in ("header", "cookie")) != 1:
            yield Finding(
                (), "a service is chosen by {header} or {cookie}", "give one of them", needs=("header", "cookie")
            )


class SplitConfig(Model):
    """Several services behind one route, each with its own policies."""

    services: Annotated[dict[Text, Annotated[Int, Field(ge=0, le=MAX_SHARE)]], Field(min_length=1)] = Field(
        description="Names of services, each with its share of the requests, relative to the others; 0 for none."
    )
    sticky: StickyConfig | None = Field(
        default=None, description="Key of a client's affinity to a service: {cookie}, {header} or {client: true}."
    )
    choose: ChooseConfig | None = Field(
        default=None, description="Field by which a request may select a service, also one of share 0."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """At least one share must be above 0."""
        services = data.get("services")
        if isinstance(services, Mapping) and services and all(share == 0 for share in services.values()):
            yield Finding(("services",), "no service has a share", "give one of them a number above 0")
