"""`breaker`, `retry`, `hedge`, `concurrency`: how a service handles failing or overloaded endpoints."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo

from propylon.config.schema.base import Finding, Model
from propylon.config.schema.between import of_no_use, too_short
from propylon.config.schema.matching import Method
from propylon.config.types import Bool, Duration, Int, Listed, OptionalDuration, Percent, Size, Statuses

_RULES = ("failure_rate", "consecutive", "failures")


class BreakerConfig(Model):
    """When a circuit opens, which stops requests to a failing endpoint or service, and when it is probed."""

    per: Literal["endpoint", "service", "both"] = Field(default="endpoint", description="The scope of a circuit.")
    failure_rate: Annotated[Percent, Field(gt=0)] | None = Field(
        default=None, description="Share of failures in the window that opens the circuit."
    )
    minimum: Annotated[Int, Field(ge=1)] = Field(
        default=20, description="Requests in the window before the rate counts."
    )
    window: Annotated[Duration, Field(gt=0)] = Field(default=10.0, description="Time span of the rules.")
    consecutive: Annotated[Int, Field(ge=1)] | None = Field(
        default=None, description="Failures in a row that open the circuit."
    )
    failures: Annotated[Int, Field(ge=1)] | None = Field(
        default=None, description="Failures in the window that open the circuit, with any number of successes."
    )
    slow: Annotated[Duration, Field(gt=0)] | None = Field(
        default=None, description="Time after which a response counts as a failure."
    )
    statuses: Statuses = Field(
        default=frozenset(range(500, 600)), description="Responses that count as failures, besides missing ones."
    )
    open: Annotated[Duration, Field(gt=0)] = Field(default=15.0, description="Time until the first probe.")
    max_open: Annotated[Duration, Field(gt=0)] | None = Field(
        default=None, description="Maximum of 'open', which doubles with each failed probe; by default 8 times."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """At least one rule is required, and settings of a rule require that rule."""
        if all(data.get(rule) is None for rule in _RULES):
            yield Finding((), f"a breaker needs a rule: {', '.join(_RULES)}", "write 'consecutive: 5'", needs=_RULES)
        else:
            yield from of_no_use(data, ("minimum",), ("failure_rate",))
            yield from of_no_use(data, ("window",), ("failure_rate", "failures"))
        yield from too_short(data, "max_open", "open", cls)


def _breaker(value: Any) -> Any:
    if isinstance(value, Mapping | BreakerConfig):
        return value
    raise ValueError("should be a rule with its settings: write {consecutive: 5}")


Breaker = Annotated[BreakerConfig, BeforeValidator(_breaker, json_schema_input_type=BreakerConfig)]


class RetryBudgetConfig(Model):
    """The load that retries may add to a service."""

    ratio: Percent = Field(default=0.2, description="Share of the requests.")
    per_second: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        default=3.0, description="Retries per second in addition, for services with few requests."
    )


class RetryConfig(Model):
    """When a failed attempt is retried at another endpoint."""

    attempts: Annotated[Int, Field(ge=1, le=20)] = Field(default=3, description="Tries in all; 1 for no retries.")
    on: Listed[Literal["connect", "busy", "reset", "timeout"]] = Field(
        default=("connect", "busy", "reset"),
        description="Causes: no connection, queue full or timed out, closed before a response, no response in time.",
    )
    statuses: Statuses = Field(default=frozenset(), description="Responses to retry while attempts are left.")
    methods: Listed[Method] = Field(
        default=("GET", "HEAD", "OPTIONS", "PUT", "DELETE"),
        description="Methods of requests that may be sent twice; requests not sent yet are always retried.",
    )
    same_endpoint: Bool = Field(default=False, description="Retry at the same endpoint if there is no other.")
    backoff: Duration = Field(default=0.025, description="Maximum of the first wait; it doubles with each retry.")
    max_backoff: Duration = Field(default=0.25, description="Maximum wait, also for Retry-After.")
    per_try: OptionalDuration = Field(default=None, description="Time limit for the response of each attempt.")
    body_buffer: Size = Field(
        default=64 * 1024, description="Bytes of a body that are kept for a retry; larger bodies are sent only once."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """The maximum wait must not be below the first one."""
        yield from too_short(data, "max_backoff", "backoff", cls)


class ServiceRetryConfig(RetryConfig):
    """When a failed attempt is retried at another endpoint, and how often."""

    budget: RetryBudgetConfig = Field(
        default_factory=RetryBudgetConfig, description="Bound on all retries and hedges of the service."
    )


def _retry(value: Any) -> Any:
    """Accept the number of attempts alone, or false and none."""
    if value is False or value == "none":
        return {"attempts": 1}
    if isinstance(value, Mapping | RetryConfig):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return {"attempts": value}
    raise ValueError("should be a number of tries, 'none', or settings: write {attempts: 3}")


def _route_retry(value: Any) -> Any:
    """Refuse a budget with a message that says where it belongs."""
    if isinstance(value, Mapping) and "budget" in value:
        raise ValueError("the budget is one for all routes of a service: write it in the service")
    return _retry(value)


_Off = Literal[False, "none"]
Retry = Annotated[RetryConfig, BeforeValidator(_route_retry, json_schema_input_type=int | _Off | RetryConfig)]
ServiceRetry = Annotated[
    ServiceRetryConfig, BeforeValidator(_retry, json_schema_input_type=int | _Off | ServiceRetryConfig)
]


class HedgeConfig(Model):
    """When a second attempt is started beside the first, within the budget of retries."""

    delay: Annotated[Duration, Field(gt=0)] | Literal["p95"] = Field(
        default="p95", description="Time without a response: fixed, or the 95th percentile of response times."
    )


def _hedge(value: Any) -> Any:
    """Accept the delay alone."""
    return value if isinstance(value, Mapping | HedgeConfig) else {"delay": value}


Hedge = Annotated[HedgeConfig, BeforeValidator(_hedge, json_schema_input_type=Duration | Literal["p95"] | HedgeConfig)]


class ConcurrencyConfig(Model):
    """Limits of concurrent requests, in one worker."""

    max: Annotated[Int, Field(ge=1)] | None = Field(default=None, description="Limit for the service.")
    per_endpoint: Annotated[Int, Field(ge=1)] | None = Field(default=None, description="Limit for each endpoint.")
    queue: Annotated[Int, Field(ge=0)] = Field(default=0, description="Requests that may wait in the queue.")
    queue_timeout: Duration = Field(default=5.0, description="Maximum time in the queue.")
    adaptive: Literal["aimd", "gradient"] | None = Field(
        default=None, description="Lower the limit when responses slow down or fail, and raise it again up to 'max'."
    )
    min: Annotated[Int, Field(ge=1)] = Field(default=4, description="Lower bound of 'adaptive'.")

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """An adaptive limit requires bounds, and a queue requires a limit."""
        if data.get("adaptive") is not None and data.get("max") is None:
            yield Finding(
                ("adaptive",), "'adaptive' needs 'max'", "write the largest limit it may move to", needs=("max",)
            )
        if data.get("queue") and data.get("max") is None and data.get("per_endpoint") is None:
            yield Finding(
                ("queue",), "'queue' is of no use without 'max' or 'per_endpoint'", needs=("max", "per_endpoint")
            )
        yield from of_no_use(data, ("queue_timeout",), ("queue",))
        yield from of_no_use(data, ("min",), ("adaptive",))
        low, high = data.get("min", cls.model_fields["min"].default), data.get("max")
        if data.get("adaptive") is not None and isinstance(low, int) and isinstance(high, int) and 1 <= high < low:
            at = "min" if "min" in data else "max"
            yield Finding((at,), f"'adaptive' moves between 'min' ({low}) and 'max' ({high})", "write a lower 'min'")


def _concurrency(value: Any) -> Any:
    """Accept the limit of the service alone."""
    if isinstance(value, Mapping | ConcurrencyConfig):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return {"max": value}
    raise ValueError("should be the number of requests under way, or settings: write {max: 100}")


Concurrency = Annotated[
    ConcurrencyConfig, BeforeValidator(_concurrency, json_schema_input_type=int | ConcurrencyConfig)
]
