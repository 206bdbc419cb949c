"""`services`: named groups of endpoints, and their connections."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema

from propylon.address import AddressError, EndpointAddress
from propylon.config.addresses import check_host_value
from propylon.config.schema.balance import BalanceEntry
from propylon.config.schema.base import Finding, Model
from propylon.config.schema.discover import DiscoverConfig
from propylon.config.schema.health import Health, HealthConfig
from propylon.config.schema.plugin import named
from propylon.config.schema.policy import Policies
from propylon.config.schema.redirects import Redirects
from propylon.config.schema.resilience import (
    Breaker,
    Concurrency,
    ConcurrencyConfig,
    Hedge,
    ServiceRetry,
    ServiceRetryConfig,
)
from propylon.config.types import (
    Bool,
    Duration,
    ExistingFile,
    Int,
    Listed,
    OptionalDuration,
    Percent,
    ServiceUrl,
    Size,
    Text,
    one_or_more,
)
from propylon.plugins import BALANCERS, PluginBrokenError, PluginNotFoundError

MAX_WEIGHT = 1000

_SOURCES = ("endpoints", "discover")


class EndpointConfig(Model):
    """One address of a service."""

    url: ServiceUrl = Field(
        description="http://HOST:PORT, https://HOST:PORT or unix:/path; a path in it is prepended to the request's."
    )
    weight: Annotated[Int, Field(ge=0, le=MAX_WEIGHT)] = Field(
        default=1, description="Share of the requests, relative to the other endpoints; 0 for none."
    )
    priority: Annotated[Int, Field(ge=0, le=100)] = Field(
        default=0, description="Tier: endpoints with a higher number are used only if the lower ones are unhealthy."
    )
    zone: Text | None = Field(
        default=None, description="Zone of the endpoint; endpoints in the gateway's own zone are preferred."
    )


def _endpoint(value: Any) -> Any:
    """Accept a URL alone."""
    if isinstance(value, str):
        return {"url": value}
    if isinstance(value, Mapping | EndpointConfig):
        return value
    raise ValueError("should be a URL, or {url, weight}")


Endpoint = Annotated[EndpointConfig, BeforeValidator(_endpoint, json_schema_input_type=ServiceUrl | EndpointConfig)]


class ServiceTlsConfig(Model):
    """TLS to endpoints with an https URL."""

    verify: Bool = Field(default=True, description="Verify the endpoint's certificate. False is for tests only.")
    ca: ExistingFile | None = Field(
        default=None, description="PEM file of the authorities to trust, instead of the system's."
    )
    certificate: ExistingFile | None = Field(default=None, description="PEM file of the client certificate.")
    key: ExistingFile | None = Field(default=None, description="PEM file of the certificate's private key.")
    server_name: Text | None = Field(
        default=None, description="Server name (SNI) to send and verify, instead of the endpoint's host."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """A certificate requires its key, and `ca` requires verification."""
        for one, other in (("certificate", "key"), ("key", "certificate")):
            if data.get(one) is not None and data.get(other) is None:
                yield Finding((one,), f"{one!r} is of no use without {other!r}", needs=(other,))
        if data.get("verify") is False and data.get("ca") is not None:
            yield Finding(("ca",), "'ca' is of no use with 'verify: false'")


class ServiceConnectionsConfig(Model):
    """Connections of one worker to one endpoint of the service, and the queue for them."""

    max: Annotated[Int, Field(ge=1)] = Field(default=4096, description="Maximum number of open connections.")
    idle: Annotated[Int, Field(ge=0)] = Field(default=256, description="Idle connections that are kept for reuse.")
    idle_timeout: OptionalDuration = Field(default=55.0, description="How long an idle connection is kept.")
    max_age: OptionalDuration = Field(
        default=3600.0,
        description="Age from which a connection is not used for another request; up to a tenth less, at random.",
    )
    follow_dns: Bool = Field(
        default=True,
        description="Close connections to addresses that the endpoint's name does not have any more, after their "
        "request. False for names whose answers rotate through many addresses.",
    )
    queue: Annotated[Int, Field(ge=0)] = Field(default=1024, description="Requests that may wait for a connection.")
    queue_timeout: Duration = Field(default=5.0, description="How long a request waits for a connection.")
    response_head: Size = Field(
        default=64 * 1024, description="Size of the head of a response; more is answered with 502."
    )
    tcp_keepalive: OptionalDuration = Field(
        default=30.0,
        description="Silence of an endpoint after which the system probes whether it is there (TCP keepalive).",
    )
    tcp_user_timeout: OptionalDuration = Field(
        default=None,
        description="TCP_USER_TIMEOUT of connections to endpoints; it also ends those of very slow readers.",
    )


def _host(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("should be 'endpoint', 'preserve' or a host name")
    return value if value in ("endpoint", "preserve") else check_host_value(value)


HostField = Annotated[str, PlainValidator(_host), WithJsonSchema({"type": "string"})]


class ServiceConfig(Model):
    """A named group of endpoints."""

    endpoints: Listed[Endpoint] = Field(
        default=(), description="Endpoints: URLs, or mappings of url, weight, priority and zone."
    )
    discover: DiscoverConfig | None = Field(
        default=None, description="Provider of endpoints with its settings, instead of 'endpoints'."
    )
    balance: BalanceEntry = Field(
        default_factory=BalanceEntry.named, description="Load balancing: an algorithm, with its settings."
    )
    health: Health = Field(default_factory=HealthConfig, description="Health checks: a path, or settings.")
    breaker: Breaker | None = Field(default=None, description="Circuit breaker of failing endpoints.")
    retry: ServiceRetry = Field(
        default_factory=ServiceRetryConfig,
        description="Retries at other endpoints: a number of attempts, or settings.",
    )
    hedge: Hedge | None = Field(default=None, description="Start a second attempt when the first one is slow.")
    concurrency: Concurrency = Field(
        default_factory=ConcurrencyConfig, description="Limit of concurrent requests: a number, or settings."
    )
    slow_start: Duration = Field(
        default=0.0, description="Time over which the share of a new or recovered endpoint is raised."
    )
    panic: Percent = Field(
        default=0.0, description="Share of healthy endpoints below which all are used; at 0%, if none is healthy."
    )
    host: HostField = Field(
        default="endpoint",
        description="Host field to send: of the endpoint's URL (endpoint), of the client (preserve), or this value.",
    )
    redirects: Redirects = Field(
        default="default",
        description="URLs in Location, Content-Location, Refresh and URI that name the service: changed to those "
        "of the client (default), left (off), or by {from: to} first.",
    )
    tls: ServiceTlsConfig = Field(default_factory=ServiceTlsConfig, description="TLS to the endpoints.")
    connections: ServiceConnectionsConfig = Field(
        default_factory=ServiceConnectionsConfig, description="Limits of the connections to each endpoint."
    )
    policies: Policies = Field(default=(), description="Policies of every route to this service, after the gateway's.")

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """Endpoints must be unique, and TLS settings require an https endpoint."""
        if data.get("discover") is not None and data.get("endpoints"):
            yield Finding(("discover",), "'endpoints' and 'discover' exclude each other", "remove one")
        elif data.get("discover") is None and not data.get("endpoints"):
            at = ("endpoints",) if "endpoints" in data else ()
            yield Finding(
                at, "a service needs endpoints", "give 'endpoints', or 'discover' with what finds them", needs=_SOURCES
            )
        urls = _urls(data.get("endpoints"))
        seen: dict[EndpointAddress, int] = {}
        for index, url in enumerate(urls):
            if url is None:
                continue
            if url in seen:
                yield Finding(
                    ("endpoints", index), f"endpoint {url} is already number {seen[url]}", "give it a weight instead"
                )
            seen.setdefault(url, index)
        if data.get("tls") and urls and all(url and url.scheme == "http" for url in urls):
            yield Finding(("tls",), "no endpoint of this service is https", "write https:// in its URL")
        balance = _algorithm(data.get("balance"))
        if data.get("slow_start") and balance is not None and _decides_alone(balance):
            hint = "remove it, or balance by another algorithm"
            yield Finding(("slow_start",), f"'slow_start' is of no use with {balance!r}, which decides alone", hint)


def _algorithm(balance: Any) -> str | None:
    """Return the name of an algorithm as written; `None` for none, or for errors that are reported elsewhere."""
    if isinstance(balance, BalanceEntry):
        return balance.name
    if isinstance(balance, Mapping) and len(names := named(balance)) == 1:
        return str(names[0])
    return balance if isinstance(balance, str) else "python" if callable(balance) else None


def _decides_alone(algorithm: str) -> bool:
    try:
        return getattr(BALANCERS.find(algorithm).Balancer, "decides_alone", False)
    except (PluginNotFoundError, PluginBrokenError):  # reported elsewhere
        return False


def _urls(endpoints: Any) -> list[EndpointAddress | None]:
    """Return the address of every endpoint, `None` for an invalid one, which is reported elsewhere."""
    found: list[EndpointAddress | None] = []
    endpoints = one_or_more(endpoints)
    for endpoint in endpoints if isinstance(endpoints, list | tuple) else ():
        url = endpoint.get("url") if isinstance(endpoint, Mapping) else getattr(endpoint, "url", endpoint)
        try:
            found.append(EndpointAddress.parse(url) if isinstance(url, str) else None)
        except AddressError:
            found.append(None)
    return found
