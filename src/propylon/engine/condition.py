"""`when:` and `unless:`: whether a policy applies to an exchange. They match like routes, with the same code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.routing.router import RouteMatch, Router, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from propylon.engine.exchange import Exchange
    from propylon.engine.pipeline import Condition


def one_condition(
    methods: Iterable[str],
    paths: Iterable[str],
    headers: Mapping[str, str],
    query: Mapping[str, str],
    predicate: Callable[[Exchange], object] | None,
) -> Condition:
    """Compile one condition; all parts must hold. Raises `RuleError` for an invalid pattern."""
    rule = Rule(route=True, methods=tuple(methods), paths=tuple(paths), headers=dict(headers), query=dict(query))
    router = Router([rule])

    def holds(x: Exchange) -> bool:
        found = router.find(b"", None, x.path, x.method, x)
        return isinstance(found, RouteMatch) and (predicate is None or bool(predicate(x)))

    return holds


def combine(when: list[Condition], unless: list[Condition]) -> Condition | None:
    """Combine both lists: any of `when` (if there are any) must hold, and none of `unless`."""
    if not when and not unless:
        return None
    return lambda x: (not when or any(holds(x) for holds in when)) and not any(holds(x) for holds in unless)
