"""`when:` and `unless:`: whether a policy applies to an exchange. They match like routes, with the same code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from propylon.http.host import Host
from propylon.routing.router import RouteMatch, Router

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.exchange import Exchange
    from propylon.engine.pipeline import Condition
    from propylon.routing.router import Rule

NO_HOST: Final = Host(b"", None)


def one_condition(rule: Rule[bool], predicate: Callable[[Exchange], object] | None) -> Condition:
    """Compile one condition; rule and predicate must hold. Raises `RuleError` for an invalid pattern."""
    router = Router([rule])
    by_host = bool(rule.hosts)

    def holds(x: Exchange) -> bool:
        name, port = x.host if by_host and x.host is not None else NO_HOST
        found = router.find(name, port, x.path, x.method, x)
        return isinstance(found, RouteMatch) and (predicate is None or bool(predicate(x)))

    return holds


def combine(when: list[Condition], unless: list[Condition]) -> Condition | None:
    """Combine both lists: any of `when` (if there are any) must hold, and none of `unless`."""
    if not when and not unless:
        return None
    return lambda x: (not when or any(holds(x) for holds in when)) and not any(holds(x) for holds in unless)
