"""`propylon run`: serve until a signal."""

import click


@click.command()
@click.argument("target", required=False)
@click.option("--watch", is_flag=True, help="Reload when a file of the configuration or a module changes.")
def command(target: str | None, watch: bool) -> None:
    """Run the gateway of TARGET: a YAML file, or module:attribute of a gateway built in Python.

    SIGHUP reloads the configuration without losing a request; an invalid one changes nothing. SIGTERM and SIGINT drain
    requests in flight, then stop.

    Without TARGET the environment is used: UPSTREAMS='{"users": ["http://127.0.0.1:3001"]}' serves
    /api/users/*, /sse/users/* and /ws/users.
    """
    from propylon.cli._target import open_gateway, shown
    from propylon.runtime.process import Process
    from propylon.runtime.refusal import EXPECTED

    gateway = open_gateway(target)
    try:
        Process(gateway).run(watch)
    except EXPECTED as error:
        raise click.ClickException(f"cannot run {shown(target)}: {error}") from error
