"""From `services:` to what a service is told: every key arrives, in the unit that the runtime counts in."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import pytest

from propylon.build.errors import BuildError
from propylon.build.snapshot import build_snapshot
from propylon.config.load import validate
from propylon.engine.retry import RetrySettings
from propylon.engine.snapshot import Snapshot
from propylon.outbound.pool import PoolLimits
from propylon.services.breaker import BreakerSettings
from propylon.services.discovery import EndpointSpec
from propylon.services.ejection import EjectionSettings
from propylon.services.settings import BreakerUse, Concurrency, Hedging, PassiveHealth, ServiceSettings
from tests.support.tls import Certificates

URL = "http://127.0.0.1:1"


def built(running: Any = None, route: dict[str, Any] | None = None, zone: str | None = None, **keys: Any) -> Snapshot:
    """A snapshot with one service that has these keys."""
    data: dict[str, Any] = {
        "services": {"s": {"endpoints": [URL], **keys}, "other": {"endpoints": [URL]}},
        "routes": [{"path": "/*", "service": "s", **(route or {})}],
    }
    if zone is not None:
        data["zone"] = zone
    return build_snapshot(validate(data), running or {})


def settings(**keys: Any) -> ServiceSettings:
    return built(**keys).services["s"].settings


def test_what_is_not_written_is_what_the_runtime_has_by_default() -> None:
    made, plain = settings(), ServiceSettings()
    for name in ("retry", "budget", "hedging", "passive", "breaker", "concurrency", "panic", "zone", "slow_start"):
        assert getattr(made, name) == getattr(plain, name), name


def test_endpoints_arrive_with_all_their_keys() -> None:
    made = built(endpoints=["http://a:1", {"url": "http://b:2", "weight": 3, "priority": 1, "zone": "z"}])
    assert made.services["s"].found == (EndpointSpec("http://a:1"), EndpointSpec("http://b:2", 3, 1, "z"))


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (False, RetrySettings(attempts=1)),
        (5, RetrySettings(attempts=5)),
        ({"on": ["timeout"]}, RetrySettings(on=frozenset(("timeout",)))),
        ({"on": []}, RetrySettings(on=frozenset())),
        ({"statuses": [502, "510-512"]}, RetrySettings(statuses=frozenset((502, 510, 511, 512)))),
        ({"methods": ["GET", "POST"]}, RetrySettings(methods=frozenset((b"GET", b"POST")))),
        ({"same_endpoint": True}, RetrySettings(same_endpoint=True)),
        ({"backoff": "1s", "max_backoff": "4s"}, RetrySettings(backoff=1.0, backoff_max=4.0)),
        ({"per_try": "250ms"}, RetrySettings(per_try=0.25)),
        ({"per_try": "none"}, RetrySettings()),
        ({"body_buffer": "1MiB"}, RetrySettings(body_buffer=2**20)),
    ],
)
def test_retries_arrive_from_services_and_routes(retry: Any, expected: RetrySettings) -> None:
    assert settings(retry=retry).retry == expected
    assert built(route={"retry": retry}).routes[0].retry == expected
    assert built().routes[0].retry is None


def test_the_budget_arrives() -> None:
    assert settings(retry={"budget": {"ratio": "50%", "per_second": 1}}).budget == (0.5, 1.0)


@pytest.mark.parametrize(
    ("hedge", "expected"),
    [("p95", Hedging(None)), ("250ms", Hedging(0.25)), ({"delay": 2}, Hedging(2.0)), ({}, Hedging(None)), (None, None)],
)
def test_hedging_arrives(hedge: Any, expected: Hedging | None) -> None:
    assert settings(hedge=hedge).hedging == expected


@pytest.mark.parametrize(
    ("passive", "expected"),
    [
        (True, PassiveHealth()),
        (False, None),
        ({"enabled": False}, None),
        ({"consecutive": 2}, PassiveHealth(ejection=EjectionSettings(consecutive=2))),
        (
            {"consecutive": "none", "failure_rate": "50%", "minimum": 5, "window": "1m", "eject": "1s",
             "max_eject": "2s", "statuses": "5xx", "max_ejected": "10%"},
            PassiveHealth(
                ejection=EjectionSettings(
                    consecutive=None, failure_rate=0.5, minimum=5, window=60.0, base=1.0, max=2.0
                ),
                statuses=frozenset(range(500, 600)),
                share=0.1,
            ),
        ),
    ],
)  # fmt: skip
def test_passive_health_arrives(passive: Any, expected: PassiveHealth | None) -> None:
    assert settings(health={"passive": passive}).passive == expected


@pytest.mark.parametrize(
    ("breaker", "expected"),
    [
        ({"consecutive": 5}, BreakerUse(settings=BreakerSettings(consecutive=5))),
        (
            {"failures": 3, "per": "service"},
            BreakerUse(settings=BreakerSettings(failures=3), endpoints=False, service=True),
        ),
        (
            {"failure_rate": "50%", "minimum": 2, "window": "1s", "consecutive": 3, "failures": 4, "slow": "5s",
             "open": "6s", "max_open": "7s", "statuses": [503], "per": "both"},
            BreakerUse(
                settings=BreakerSettings(
                    failure_rate=0.5, minimum=2, window=1.0, consecutive=3, failures=4, slow=5.0, open=6.0, open_max=7.0
                ),
                statuses=frozenset((503,)),
                endpoints=True,
                service=True,
            ),
        ),
    ],
)  # fmt: skip
def test_circuit_breakers_arrive(breaker: Any, expected: BreakerUse) -> None:
    service = built(breaker=breaker).services["s"]
    assert service.settings.breaker == expected
    assert (service.breaker is not None) is expected.service


@pytest.mark.parametrize(
    ("concurrency", "expected"),
    [
        (7, Concurrency(max=7)),
        (
            {"per_endpoint": 2, "queue": 3, "queue_timeout": "1s"},
            Concurrency(max=None, per_endpoint=2, queue=3, queue_timeout=1.0),
        ),
        ({"max": 9, "adaptive": "aimd", "min": 5}, Concurrency(max=9, adaptive="aimd", min=5)),
        ({"max": 2, "adaptive": "gradient", "min": 2}, Concurrency(max=2, adaptive="gradient", min=2)),
    ],
)
def test_limits_of_concurrency_arrive(concurrency: Any, expected: Concurrency) -> None:
    assert settings(concurrency=concurrency).concurrency == expected


def test_what_decides_who_is_chosen_arrives() -> None:
    made = settings(panic="30%", slow_start="1m", zone="eu", balance="round_robin")
    assert (made.panic, made.slow_start, made.zone, made.balance[0]) == (0.3, 60.0, "eu", "round_robin")


def test_limits_of_connections_arrive() -> None:
    limits = {"max": 1, "idle": 2, "idle_timeout": "3s", "max_age": "1m", "queue": 4, "queue_timeout": "5s"}
    assert settings(connections=limits).transport.limits == PoolLimits(
        max=1, idle=2, idle_timeout=3.0, max_age=60.0, queue=4, queue_timeout=5.0
    )
    assert settings(connections={"idle_timeout": "none"}).transport.limits.idle_timeout == inf
    assert settings(connections={"max_age": "none"}).transport.limits.max_age == inf
    assert settings().transport.follow_dns
    assert not settings(connections={"follow_dns": False}).transport.follow_dns


# what runs already


def test_a_service_of_which_nothing_changed_is_the_one_that_runs() -> None:
    keys: dict[str, Any] = {"retry": 2, "breaker": {"consecutive": 3}, "hedge": "p95"}
    first = built(**keys)
    assert built(first.services, **keys).services == first.services
    changed = built(first.services, **{**keys, "retry": 3})
    assert changed.services["s"] is not first.services["s"]
    assert changed.services["other"] is first.services["other"]
    assert built(first.services, endpoints=["http://c:1"], **keys).services["s"] is not first.services["s"]


def test_services_with_the_same_tls_settings_share_a_context(certificates: Certificates, tmp_path: Path) -> None:
    secure, ca = ["https://a.test"], tmp_path / "own.pem"
    ca.write_bytes(Path(certificates.path("ca")).read_bytes())

    def contexts(running: Any = None) -> list[Any]:
        services = {"a": {}, "b": {}, "own": {"tls": {"ca": str(ca)}}, "found": {"discover": {"file": "found.yaml"}}}
        data = {name: {"retry": 2 if running else 3, **keys} for name, keys in services.items()}
        for name in ("a", "b", "own"):
            data[name]["endpoints"] = secure
        routes = [{"path": "/", "target": "https://b.test"}, {"path": "/c", "target": "HTTPS://c.test"}]
        made.append(build_snapshot(validate({"services": data, "routes": routes}), running or {}))
        return [service.settings.transport.tls for service in made[-1].services.values()]

    made: list[Snapshot] = []
    a, b, own, found, first, second = before = contexts()
    assert a is b is found is first is second is not None
    assert own not in (a, None)
    assert contexts(made[-1].services) == before
    ca.write_bytes(ca.read_bytes() + b"\n")
    after = contexts(made[-1].services)
    assert after[2] not in (a, own, None)
    assert after[:2] + after[3:] == before[:2] + before[3:]


def test_routes_to_the_same_target_share_a_service() -> None:
    routes = [{"path": "/a", "target": URL}, {"path": "/b", "target": URL}, {"path": "/c", "target": "http://c:1"}]
    made = build_snapshot(validate({"routes": routes}))
    one, two, other = (route.service for route in made.routes)
    assert one is two
    assert one is not other
    assert set(made.services) == {URL, "http://c:1"}


def test_a_fallback_arrives() -> None:
    made = built(route={"fallback": {"service": "other"}})
    fallback = made.routes[0].fallback
    assert fallback is not None
    assert fallback.service is made.services["other"]
    fallback = built(route={"fallback": {"respond": {"status": 200, "body": "later"}}}).routes[0].fallback
    assert fallback is not None
    assert fallback.respond is not None


def test_what_cannot_be_made_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(BuildError, match=r"^services\.s\.tls: "):
        built(endpoints=["https://a"], tls={"ca": str(tmp_path / "ca.pem")})
    with pytest.raises(BuildError, match=r"^services\.s\.balance: "):
        built(balance={"python": "no_such_module:f"})
