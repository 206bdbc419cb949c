"""`propylon check`: reports every problem of a configuration."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from propylon.cli._view import RouteView
    from propylon.config.problems import Problem
    from propylon.config.schema import GatewayConfig


@click.command()
@click.argument("target", metavar="[FILE]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--strict", is_flag=True, help="End with status 1 if there are warnings.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the configuration and check nothing.")
def command(target: str | None, as_json: bool, strict: bool, schema: bool) -> None:
    """Check a configuration FILE, or module:attribute, and show all of its problems and warnings.

    A warning is a valid part that surely does not do what was meant, such as a route that can never match. Without FILE
    the environment is checked, if UPSTREAMS is set. The exit status is 1 with problems, or with warnings and --strict.
    """
    from propylon.cli._output import echo_json, fail_with_problems
    from propylon.cli._target import shown
    from propylon.config.problems import ConfigError

    if schema:
        from propylon.config.json_schema import json_schema

        echo_json(json_schema())
        return
    try:
        checked = _read(target)
    except ConfigError as error:
        if not as_json:
            fail_with_problems(error.problems)
        problems = [problem.as_dict() for problem in error.problems]
        echo_json({"target": shown(target), "ok": False, "problems": problems, "warnings": []})
        sys.exit(1)
    ok = not (strict and checked.warnings)
    if as_json:
        echo_json({"target": shown(target), "ok": ok, "problems": [], **checked.as_dict()})
    else:
        checked.echo(shown(target))
    sys.exit(0 if ok else 1)


@dataclass(frozen=True, slots=True)
class _Checked:
    """A valid configuration: its warnings, its number of services, and its split routes."""

    config: "GatewayConfig"
    warnings: "tuple[Problem, ...]"
    services: int
    split: "list[RouteView]"

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        from propylon.cli._listeners import listener_as_dict

        return {
            "warnings": [warning.as_dict() for warning in self.warnings],
            "listeners": [listener_as_dict(listener) for listener in self.config.listen],
            "routes": len(self.config.routes),
            "services": self.services,
            "splits": [route.name for route in self.split],
            "tests": len(self.config.tests),
        }

    def echo(self, name: str) -> None:
        """Print it for people."""
        from propylon.cli._listeners import listener_lines
        from propylon.cli._output import count, echo_warnings

        config = self.config
        echo_warnings(self.warnings)
        numbers = [count(len(config.routes), "route"), count(self.services, "service")]
        more = ((config.tests, "test"), (self.warnings, "warning"))
        numbers += [count(len(found), noun) for found, noun in more if found]
        click.echo(f"{name}: ok ({', '.join(numbers)})")
        for line in [line for listener in config.listen for line in listener_lines(listener)]:
            click.echo(f"  {line}")
        for route in self.split:
            click.echo(f"  route {route.name}: {route.destination()}")


def _read(target: str | None) -> _Checked:
    from propylon.cli._listeners import certificate_warnings
    from propylon.cli._target import read_gateway, shown
    from propylon.cli._view import routes_of
    from propylon.config.load import source_of
    from propylon.config.problems import in_order
    from propylon.config.warnings import warnings_of

    gateway = read_gateway(target)
    snapshot, loaded = gateway.snapshot(), gateway.loaded()
    split = [route for route in routes_of(snapshot) if route.split is not None]
    expired = certificate_warnings(loaded.config, source_of(loaded, shown(target)))
    warnings = in_order([*warnings_of(loaded, shown(target)), *expired])
    return _Checked(loaded.config, warnings, len(snapshot.services), split)
