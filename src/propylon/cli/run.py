"""`propylon run`: serve until a signal."""

import click


@click.command()
@click.argument("target")
def command(target: str) -> None:
    """Run the gateway of TARGET: a YAML file, or module:attribute of a gateway built in Python."""
    from propylon.cli._target import open_gateway
    from propylon.inbound.listener import ListenError

    gateway = open_gateway(target)
    try:
        gateway.run()
    except (ListenError, OSError) as error:
        raise click.ClickException(f"cannot run {target}: {error}") from error
