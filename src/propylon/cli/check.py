"""`propylon check`: every problem of a configuration, or that there is none."""

import sys

import click


@click.command()
@click.argument("target", metavar="[FILE]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the configuration and check nothing.")
def command(target: str | None, as_json: bool, schema: bool) -> None:
    """Check a configuration FILE, or module:attribute, and show all of its problems.

    Without FILE the environment is checked, if UPSTREAMS is set.
    """
    from propylon.cli._output import count, echo_json, fail_with_problems
    from propylon.cli._target import shown
    from propylon.config.problems import ConfigError

    if schema:
        from propylon.config.json_schema import json_schema

        echo_json(json_schema())
        return
    try:
        routes, services = _counted(target)
    except ConfigError as error:
        if not as_json:
            fail_with_problems(error.problems)
        problems = [problem.as_dict() for problem in error.problems]
        echo_json({"target": shown(target), "ok": False, "problems": problems})
        sys.exit(1)
    if as_json:
        echo_json({"target": shown(target), "ok": True, "problems": [], "routes": routes, "services": services})
    else:
        click.echo(f"{shown(target)}: ok ({count(routes, 'route')}, {count(services, 'service')})")


def _counted(target: str | None) -> tuple[int, int]:
    """Return the numbers of routes and services of a target without problems."""
    from propylon.cli._target import read_gateway

    gateway = read_gateway(target)
    return len(gateway.config.routes), len(gateway.snapshot().services)
