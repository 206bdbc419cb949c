"""`propylon check`: reports every problem of a configuration."""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from propylon.cli._view import RouteView
    from propylon.config.schema import GatewayConfig


@click.command()
@click.argument("target", metavar="[FILE]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the configuration and check nothing.")
def command(target: str | None, as_json: bool, schema: bool) -> None:
    """Check a configuration FILE, or module:attribute, and show all of its problems.

    Without FILE the environment is checked, if UPSTREAMS is set.
    """
    from propylon.cli._listeners import listener_as_dict, listener_lines
    from propylon.cli._output import count, echo_json, fail_with_problems
    from propylon.cli._target import shown
    from propylon.config.problems import ConfigError

    if schema:
        from propylon.config.json_schema import json_schema

        echo_json(json_schema())
        return
    try:
        config, routes, services, split = _read(target)
    except ConfigError as error:
        if not as_json:
            fail_with_problems(error.problems)
        problems = [problem.as_dict() for problem in error.problems]
        echo_json({"target": shown(target), "ok": False, "problems": problems})
        sys.exit(1)
    if as_json:
        listeners = [listener_as_dict(listener) for listener in config.listen]
        numbers = {
            "routes": routes,
            "services": services,
            "splits": [route.name for route in split],
            "tests": len(config.tests),
        }
        echo_json({"target": shown(target), "ok": True, "problems": [], "listeners": listeners, **numbers})
        return
    tests = f", {count(len(config.tests), 'test')}" if config.tests else ""
    click.echo(f"{shown(target)}: ok ({count(routes, 'route')}, {count(services, 'service')}{tests})")
    for line in [line for listener in config.listen for line in listener_lines(listener)]:
        click.echo(f"  {line}")
    for route in split:
        click.echo(f"  route {route.name}: {route.destination()}")


def _read(target: str | None) -> "tuple[GatewayConfig, int, int, list[RouteView]]":
    """Return a target's configuration, its numbers of routes and services, and its split routes."""
    from propylon.cli._target import read_gateway
    from propylon.cli._view import routes_of

    gateway = read_gateway(target)
    snapshot = gateway.snapshot()
    split = [route for route in routes_of(snapshot) if route.split is not None]
    return gateway.config, len(gateway.config.routes), len(snapshot.services), split
