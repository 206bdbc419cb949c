"""`tests`: requests with their expected results. `propylon test` runs them; `propylon run` ignores them."""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema

from propylon.config.schema.base import Finding, Model
from propylon.config.schema.matching import FieldMatches, FieldName, Method
from propylon.config.types import Int, Listed, ListedSome, Text
from propylon.failures import FAILURES

_REQUEST: Final = re.compile(r"([A-Z]+) (https?://[^/\s?#]+)?(/\S*)", re.ASCII)
_DOWN: Final = ("connect.", "attempt.", "head.")


def _request(value: object) -> str:
    if not isinstance(value, str) or not _REQUEST.fullmatch(value):
        raise ValueError(
            "should be METHOD PATH, as in GET /users/7?full=1, or with a host, GET https://a.example/users"
        )
    return value


def _client(value: object) -> str:
    try:
        return str(ip_address(str(value)))
    except ValueError:
        raise ValueError("should be an IP address") from None


def _answer(value: Any) -> Any:
    """Accept `down` or the code of a failure instead of a response."""
    if value == "down":
        return {"failure": "connect.refused"}
    return {"failure": value} if isinstance(value, str) else value


def _failure(value: object) -> str:
    if value not in FAILURES or not str(value).startswith(_DOWN):
        raise ValueError("should be 'down', or a code of connect.*, attempt.* or head.*, as head.timeout")
    return str(value)


_TEXT_SCHEMA: Final = WithJsonSchema({"type": "string"})
RequestText = Annotated[
    str, PlainValidator(_request), WithJsonSchema({"type": "string", "pattern": f"^{_REQUEST.pattern}$"})
]
ClientAddress = Annotated[str, PlainValidator(_client), _TEXT_SCHEMA]
Status = Annotated[Int, Field(ge=100, le=599)]


class ServiceAnswerConfig(Model):
    """The response of services in a test."""

    status: Status = Field(default=200, description="The status.")
    headers: dict[FieldName, str] = Field(default={}, description="Header fields.")
    body: str = Field(default="", description="The body.")
    failure: Annotated[str, PlainValidator(_failure), _TEXT_SCHEMA] | None = Field(
        default=None, description="A code of the table of errors, such as head.timeout, instead of a response."
    )


class SentConfig(Model):
    """The request that a service is expected to receive."""

    method: Method | None = Field(default=None, description="The method.")
    host: Text | None = Field(default=None, description="The Host field.")
    headers: FieldMatches = Field(
        default={}, description='Header fields, each with its value, "*" for any, or {regex: PATTERN}.'
    )
    absent: Listed[FieldName] = Field(default=(), description="Header fields that are not sent.")
    body: str | None = Field(default=None, description="The whole body.")


class ExpectedConfig(Model):
    """The expected result of a request; all given keys must hold."""

    status: Status | None = Field(default=None, description="The status of the response.")
    route: Text | None = Field(
        default=None, description="The name of the route, or its path if it has no name; none for no route."
    )
    service: ListedSome[Text] | None = Field(
        default=None, description="The service, or one of these; none if the gateway responds itself."
    )
    path: Text | None = Field(
        default=None, description="The path sent to the service; with the query if it contains a '?'."
    )
    policies: Listed[Text] | None = Field(default=None, description="All policies of the route, in their order.")
    headers: FieldMatches = Field(
        default={}, description='Header fields of the response, each with its value, "*" for any, or {regex: PATTERN}.'
    )
    absent: Listed[FieldName] = Field(default=(), description="Header fields that the response does not have.")
    body: str | None = Field(default=None, description="The whole body of the response.")
    sent: SentConfig | None = Field(default=None, description="The rest of the request sent to the service.")

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """At least one expectation is required, as a test without any always passes."""
        if not data:
            yield Finding((), "nothing is expected", f"give at least one of {', '.join(cls.model_fields)}")


class RequestTestConfig(Model):
    """One request and its expected result."""

    name: Text | None = Field(default=None, description="Name in the results; by default the request.")
    request: RequestText = Field(
        description="METHOD PATH, as in GET /users/7; with a host in front of the path, also with https://."
    )
    host: Text | None = Field(default=None, description="The Host field, if it is not in the request.")
    headers: dict[FieldName, str] = Field(default={}, description="Header fields.")
    client: ClientAddress = Field(default="127.0.0.1", description="The address of the client.")
    listener: Text | None = Field(
        default=None,
        description="Listener by which it comes, by name or address; by default the first one of its scheme.",
    )
    body: str | None = Field(default=None, description="The body.")
    answer: Annotated[
        ServiceAnswerConfig | None, BeforeValidator(_answer, json_schema_input_type=str | ServiceAnswerConfig)
    ] = Field(
        default=None, description="Response of services: {status, headers, body}, down, or the code of a failure."
    )
    expect: ExpectedConfig = Field(description="The expected result.")

    @property
    def parts(self) -> tuple[str, Literal["http", "https"] | None, str, str]:
        """The method, the scheme, if it is written, the Host field and the path of the request."""
        found = _REQUEST.fullmatch(self.request)
        assert found is not None
        written, _, host = (found[2] or "").partition("://")
        scheme: Literal["http", "https"] | None = None if not written else "https" if written == "https" else "http"
        return found[1], scheme, self.host or host or "gateway.test", found[3]
