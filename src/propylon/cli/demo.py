"""`propylon demo`: a gateway with three services, and requests to try."""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from propylon.gateway import Gateway

PREFERRED_PORT = 8080
PORTS_TO_TRY = 20

# Description, status, and arguments of curl; URL stands for the gateway's.
TRIES = (
    ("a route; /users is sent as /people", 200, "URL/users"),
    ("a path parameter: /users/{id} is sent as /people/{id}", 200, "URL/users/2"),
    ("a route matches, but not for this method; see Allow", 405, "-X DELETE URL/users/2"),
    ("no route: the gateway's own answers are application/problem+json", 404, "URL/nowhere"),
    ("a redirect", 308, "URL/old/2"),
    ("an answer of the gateway itself", 200, "URL/hello"),
    ("what a service gets: a request id, X-Forwarded-*, Via", 200, "URL/shop/echo"),
    ("your own request id goes through and comes back", 200, "-H 'x-request-id: my-id-1' URL/shop/echo"),
    ("a body", 200, "-d 'hello shop' URL/shop/echo"),
    ("a body larger than this route's limit", 413, "-d @DIR/gateway.yaml URL/shop/echo"),
    ("a body that is streamed, piece by piece", 200, "-N URL/shop/stream"),
    ("a service that takes longer than its second", 504, "URL/slow/report"),
    ("a service that hangs up", 502, "URL/slow/broken"),
    ("a service that is not there", 503, "URL/down"),
    ("a policy in Python asks for a key", 401, "URL/members/2"),
    ("with the key; another one adds to the JSON of the answer", 200, "-H 'x-api-key: s3cret' URL/members/2"),
    ("the routes, for programs", 200, "URL/services.json"),
)


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"The port to listen on; without it {PREFERRED_PORT}, or the next one that is free.",
)
def command(port: int | None) -> None:
    """Run a gateway in front of three small services, and show what to try."""
    import asyncio
    import logging
    import tempfile
    from pathlib import Path

    from propylon.demo import services
    from propylon.gateway import Gateway
    from propylon.inbound.listener import ListenError

    if port is None:
        port = _free_port()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    with services.running() as urls, tempfile.TemporaryDirectory(prefix="propylon-demo-") as folder:
        config = _write(Path(folder), port, urls)
        try:
            asyncio.run(_serve(Gateway.load(config), config, urls))
        except ListenError as error:
            raise click.ClickException(f"{error}; choose another with --port") from error
    click.echo("The demo has ended: the gateway, its services and its files are gone.")


def _free_port() -> int:
    """Return the preferred port, or the next free one."""
    import socket

    for port in range(PREFERRED_PORT, PREFERRED_PORT + PORTS_TO_TRY):
        try:
            with socket.create_server(("127.0.0.1", port)):
                pass
        except OSError:
            continue
        if port != PREFERRED_PORT:
            click.echo(f"Port {PREFERRED_PORT} is in use: the demo takes {port}.")
        return port
    last = PREFERRED_PORT + PORTS_TO_TRY - 1
    raise click.ClickException(f"the ports {PREFERRED_PORT} to {last} are in use: choose another with --port")


def _write(folder: "Path", port: int, urls: "Mapping[str, str]") -> "Path":
    """Write the configuration and its policies to a folder where users can read them."""
    from importlib import resources
    from string import Template

    source = resources.files("propylon.demo")
    template = Template((source / "gateway.yaml").read_text("utf-8"))
    config = folder / "gateway.yaml"
    config.write_text(template.substitute(urls, port=port), "utf-8")
    (folder / "demo_policies.py").write_text((source / "demo_policies.py").read_text("utf-8"), "utf-8")
    return config


async def _serve(gateway: "Gateway", config: "Path", urls: "Mapping[str, str]") -> None:
    """Serve until Ctrl-C or SIGTERM."""
    import asyncio
    import signal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with gateway:
        click.echo(_welcome(gateway.url, config, urls))
        sys.stdout.flush()
        await stop.wait()
        click.echo()


def _welcome(url: str, config: "Path", urls: "Mapping[str, str]") -> str:
    lines = [
        f"Propylon listens on {url}. Ctrl-C ends everything.",
        "",
        f"  configuration  {config}",
        f"  policies       {config.with_name('demo_policies.py')}",
        *(f"  service        {name:<6} {address}" for name, address in urls.items()),
        "",
        "Try these in another terminal:",
    ]
    for description, status, arguments in TRIES:
        filled = arguments.replace("URL", url).replace("DIR", str(config.parent))
        lines += ["", f"  # {status}: {description}", f"  curl -i {filled}"]
    program = sys.argv[0] if "/" in sys.argv[0] else "propylon"
    lines += [
        "",
        "  # what would happen to a request, step by step",
        f"  {program} explain {config} GET /users/2",
        "",
        "What passes is printed here by a policy in Python:",
    ]
    return "\n".join(lines)
