"""`propylon explain`: the steps of a request, without sending it."""

import re
from pathlib import Path

import click

_METHOD = re.compile(r"[A-Z][A-Z-]*")
COMMON = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@click.command()
@click.argument("arguments", nargs=-1, metavar="[FILE] METHOD TARGET")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header of the request.")
@click.option("--client", default="127.0.0.1", show_default=True, metavar="IP", help="The address of the client.")
@click.option("--scheme", type=click.Choice(["http", "https"]), help="The scheme; by default that of TARGET.")
@click.option("--listener", metavar="NAME", help="The listener; by default the first of the scheme.")
@click.option("--json", "as_json", is_flag=True, help="Print the steps as JSON.")
def command(
    arguments: tuple[str, ...],
    headers: tuple[str, ...],
    client: str,
    scheme: str | None,
    listener: str | None,
    as_json: bool,
) -> None:
    """Show step by step what FILE, or module:attribute, would do with the request METHOD TARGET.

    TARGET is a path with its query, or a whole URL if the host matters. Without FILE the environment is used, if
    UPSTREAMS is set.
    """
    from propylon.cli._listeners import entrance
    from propylon.cli._output import echo_json
    from propylon.cli._steps import Question, explain
    from propylon.cli._target import open_gateway

    if (missing := _missing(arguments)) is not None:
        raise click.UsageError(missing)
    *files, method, target = arguments
    gateway = open_gateway(files[0] if files else None)
    way = entrance(gateway.config, target, scheme, listener)
    question = Question(method, target, tuple(map(_header, headers)), _client(client), *way)
    explanation = explain(gateway.snapshot(), question)
    if as_json:
        echo_json(explanation.as_dict())
        return
    for step in explanation.steps:
        click.echo(f"{step.number} {step.name:<8} {step.outcome}")
        for detail in step.details:
            click.echo(f"{'':<10} {detail}")


def _missing(arguments: tuple[str, ...]) -> str | None:
    """Return what to write if an argument is missing."""
    advice = "give [FILE] METHOD TARGET, as in: gateway.yaml GET /users/5"
    if not 1 <= len(arguments) <= 3:
        return advice
    *before, last = arguments
    if before and before[-1] not in COMMON and before[-1].upper() in COMMON:
        return f"methods are written in capitals: {before[-1].upper()}"
    if len(arguments) == 3 or (before and _METHOD.fullmatch(before[0])):
        return None
    if last in COMMON:
        return f"TARGET is missing, a path or a URL: write {' '.join([*arguments, '/'])}"
    if "://" in last or (last.startswith("/") and not Path(last).is_file()):
        return f"METHOD is missing: write {' '.join([*before, 'GET', last])}"
    return advice


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter(f"{text!r} is not 'NAME: VALUE'", param_hint="'-H'")
    return name.strip(), value.strip()


def _client(text: str) -> str:
    from ipaddress import ip_address

    try:
        return str(ip_address(text))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an IP address", param_hint="'--client'") from None
