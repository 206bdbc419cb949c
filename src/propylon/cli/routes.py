"""`propylon routes`: the routes in the order of matching."""

import click


@click.command()
@click.argument("target", metavar="[FILE]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the routes as JSON.")
def command(target: str | None, as_json: bool) -> None:
    """List the routes of a configuration FILE, or module:attribute, the most specific first.

    Without FILE the environment is used, if UPSTREAMS is set.
    """
    from propylon.cli._output import echo_json, echo_table, echo_warnings
    from propylon.cli._target import open_gateway, shown
    from propylon.cli._view import routes_of
    from propylon.config.warnings import warnings_of

    gateway = open_gateway(target)
    routes = routes_of(gateway.snapshot())
    echo_warnings([each for each in warnings_of(gateway.loaded(), shown(target)) if each.path.startswith("routes.")])
    if as_json:
        echo_json([route.as_dict() for route in routes])
    elif not routes:
        click.echo(f"{shown(target)} has no routes: every request is answered with 404")
    else:
        header = ("#", "NAME", "HOST", "PATH", "METHODS", "CONDITIONS", "GOES TO")
        rows = [
            (
                str(number),
                route.name,
                ", ".join(route.hosts) or "*",
                ", ".join(route.paths),
                ", ".join(route.methods) or "*",
                ", ".join([*([f"priority {route.priority}"] if route.priority else []), *route.conditions]) or "-",
                route.destination(),
            )
            for number, route in enumerate(routes, 1)
        ]
        echo_table(header, rows)
