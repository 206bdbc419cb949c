"""The names in templates of policies: whether the place of a policy knows them.

Rules of the file: a policy with templates has a `Config` with the method `templates`, which yields each of them with
its location in the settings. Settings are raw data, or in Python ready objects; their own errors are reported
elsewhere.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from propylon.config.schema.base import Finding
from propylon.config.schema.plugin import configured
from propylon.config.schema.policy import KIND, PolicyEntry
from propylon.config.schema.service_refs import named_policies
from propylon.config.types import one_or_more
from propylon.plugins import POLICIES, PluginBrokenError, PluginNotFoundError
from propylon.routing.captures import Captures, captures_of
from propylon.routing.match import Rule


def route_captures(data: Mapping[str, Any]) -> Captures | None:
    """Return what a route captures; None if its patterns are invalid, which is reported elsewhere."""
    try:
        hosts, paths = one_or_more(data.get("host") or ()), one_or_more(data.get("path") or ())
        return captures_of(Rule(route=None, hosts=hosts, paths=paths, path_regex=data.get("path_regex")))
    except (TypeError, AttributeError, ValueError):
        return None


def list_findings(policies: Any, captures: Captures, context: Any) -> Iterator[Finding]:
    """Yield the unknown names in a list of policies, located in it."""
    for index, name, settings in named_policies(policies):
        for finding in policy_findings(name, settings, captures, context):
            yield Finding((index, name, *finding.loc), *finding[1:])


def policy_findings(name: str, settings: Any, captures: Captures, context: Any) -> Iterator[Finding]:
    """Yield the unknown names in the settings of a policy, located in them."""
    if isinstance(settings, PolicyEntry):
        settings = settings.config
    try:
        if not hasattr(POLICIES.find(name).Config, "templates"):
            return
    except (PluginNotFoundError, PluginBrokenError):
        return
    config, _ = configured(KIND, name, settings, context)
    for loc, template in config.templates() if config is not None else ():
        if (problem := template.problem(captures)) is not None:
            yield Finding(loc, problem)
