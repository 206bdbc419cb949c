"""`breaker`, `retry`, `hedge`, `concurrency`: what a service does when its endpoints fail, or cannot keep up."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo

from propylon.config.schema.base import Finding, Model
from propylon.config.schema.between import of_no_use, too_short
from propylon.config.schema.matching import Method
from propylon.config.types import Bool, Duration, Int, OptionalDuration, Percent, Size, Statuses

_RULES = ("failure_rate", "consecutive", "failures")


class BreakerConfig(Model):
    """When a circuit opens, so that nobody is sent to who fails anyway, and how it is tried again."""

    per: Literal["endpoint", "service", "both"] = Field(default="endpoint", description="What has a circuit.")
    failure_rate: Annotated[Percent, Field(gt=0)] | None = Field(
        default=None, description="Opens at this share of failures in the window."
    )
    minimum: Annotated[Int, Field(ge=1)] = Field(default=20, description="Requests in the window that a rate needs.")
    window: Annotated[Duration, Field(gt=0)] = Field(default=10.0, description="How far the rules look back.")
    consecutive: Annotated[Int, Field(ge=1)] | None = Field(default=None, description="Opens at so many in a row.")
    failures: Annotated[Int, Field(ge=1)] | None = Field(
        default=None, description="Opens at so many in the window, whatever succeeds between them."
    )
    slow: Annotated[Duration, Field(gt=0)] | None = Field(default=None, description="A slower answer is a failure too.")
    statuses: Statuses = Field(
        default=frozenset(range(500, 600)), description="Answers that are failures, besides none at all."
    )
    open: Annotated[Duration, Field(gt=0)] = Field(default=15.0, description="Time until the first probe.")
    max_open: Annotated[Duration, Field(gt=0)] | None = Field(
        default=None, description="To which that time doubles with each failed probe; by default 8 times."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """Without a rule no circuit would ever open, and some settings belong to a rule."""
        if all(data.get(rule) is None for rule in _RULES):
            yield Finding((), f"a breaker needs a rule: {', '.join(_RULES)}", "write 'consecutive: 5'")
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
    """How much retries may add to the load of a service."""

    ratio: Percent = Field(default=0.2, description="Share of the requests.")
    per_second: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        default=3.0, description="So many a second besides, so that a service with few requests has some too."
    )


class RetryConfig(Model):
    """When a request is sent to another endpoint, because one has failed."""

    attempts: Annotated[Int, Field(ge=1, le=20)] = Field(default=3, description="Tries in all; 1 for no retries.")
    on: tuple[Literal["connect", "busy", "reset", "timeout"], ...] = Field(
        default=("connect", "busy", "reset"),
        description="Causes: no connection, no place in its queue, closed before an answer, no answer in time.",
    )
    statuses: Statuses = Field(default=frozenset(), description="Answers that are not passed on while tries are left.")
    methods: tuple[Method, ...] = Field(
        default=("GET", "HEAD", "OPTIONS", "PUT", "DELETE"),
        description="Methods of requests that may be sent twice; what never left may always be sent again.",
    )
    same_endpoint: Bool = Field(default=False, description="Ask an endpoint that failed again, if there is no other.")
    backoff: Duration = Field(default=0.025, description="Longest first wait; it doubles with every further one.")
    max_backoff: Duration = Field(default=0.25, description="Longest wait, and longest Retry-After that is waited for.")
    per_try: OptionalDuration = Field(default=None, description="Time for each answer.")
    body_buffer: Size = Field(
        default=64 * 1024, description="Bytes of a body that are kept for another try; larger ones are sent once."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """The longest wait bounds the first one."""
        yield from too_short(data, "max_backoff", "backoff", cls)


class ServiceRetryConfig(RetryConfig):
    """When a request is sent to another endpoint, because one has failed, and how often that may happen."""

    budget: RetryBudgetConfig = Field(
        default_factory=RetryBudgetConfig, description="Bound of all retries and hedges of the service."
    )


def _retry(value: Any) -> Any:
    """Accept the number of tries alone, or false and none."""
    if value is False or value == "none":
        return {"attempts": 1}
    if isinstance(value, Mapping | RetryConfig):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return {"attempts": value}
    raise ValueError("should be a number of tries, 'none', or settings: write {attempts: 3}")


def _route_retry(value: Any) -> Any:
    """Refuse a budget with a better reason than that the key is unknown."""
    if isinstance(value, Mapping) and "budget" in value:
        raise ValueError("the budget is one for all routes of a service: write it in the service")
    return _retry(value)


_Off = Literal[False, "none"]
Retry = Annotated[RetryConfig, BeforeValidator(_route_retry, json_schema_input_type=int | _Off | RetryConfig)]
ServiceRetry = Annotated[
    ServiceRetryConfig, BeforeValidator(_retry, json_schema_input_type=int | _Off | ServiceRetryConfig)
]


class HedgeConfig(Model):
    """When a second endpoint is asked beside the first: its budget is that of retries."""

    delay: Annotated[Duration, Field(gt=0)] | Literal["p95"] = Field(
        default="p95", description="Time without an answer: fixed, or what 95 of 100 answers take at the most."
    )


def _hedge(value: Any) -> Any:
    """Accept the delay alone."""
    return value if isinstance(value, Mapping | HedgeConfig) else {"delay": value}


Hedge = Annotated[HedgeConfig, BeforeValidator(_hedge, json_schema_input_type=str | HedgeConfig)]


class ConcurrencyConfig(Model):
    """How many requests may be under way at the same time, in one worker."""

    max: Annotated[Int, Field(ge=1)] | None = Field(default=None, description="In the service.")
    per_endpoint: Annotated[Int, Field(ge=1)] | None = Field(default=None, description="At one endpoint.")
    queue: Annotated[Int, Field(ge=0)] = Field(default=0, description="Requests that may wait for their turn.")
    queue_timeout: Duration = Field(default=5.0, description="How long a request waits at the most.")
    adaptive: Literal["aimd", "gradient"] | None = Field(
        default=None, description="Move 'max' down when answers slow down or fail, and up again."
    )
    min: Annotated[Int, Field(ge=1)] = Field(default=4, description="What 'adaptive' never goes below.")

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """A limit that moves needs bounds, and a queue something to wait for."""
        if data.get("adaptive") is not None and data.get("max") is None:
            yield Finding(("adaptive",), "'adaptive' needs 'max'", "write the largest limit it may move to")
        if data.get("queue") and data.get("max") is None and data.get("per_endpoint") is None:
            yield Finding(("queue",), "'queue' is of no use without 'max' or 'per_endpoint'")
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
