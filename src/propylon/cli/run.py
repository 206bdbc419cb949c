"""`propylon run`: serve until a signal."""

import click


@click.command()
@click.argument("target", required=False)
def command(target: str | None) -> None:
    """Run the gateway of TARGET: a YAML file, or module:attribute of a gateway built in Python.

    Without TARGET the environment says what is run: UPSTREAMS='{"users": ["http://127.0.0.1:3001"]}' serves
    /api/users/*, /sse/users/* and /ws/users.
    """
    from propylon.cli._target import open_gateway, shown
    from propylon.inbound.listener import ListenError

    gateway = open_gateway(target)
    try:
        gateway.run()
    except (ListenError, OSError) as error:
        raise click.ClickException(f"cannot run {shown(target)}: {error}") from error
