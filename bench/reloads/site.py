"""The configuration of a run, another one with each number; some of them are broken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BREAKS_EVERY = 4
MODULE = """
VERSION = "{number}"
DATA = [str(n) for n in range(1000)]


def mark(exchange):
    exchange.request.headers["x-module"] = VERSION
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the gateway, its second listener, and the services listen."""

    gateway: int
    second: int
    answers: tuple[int, ...]
    events: int
    sockets: int


def is_broken(number: int) -> bool:
    """Tell whether the configuration of this number cannot be used."""
    return number % BREAKS_EVERY == BREAKS_EVERY - 1


def has_second_listener(number: int) -> bool:
    """Tell whether the configuration of this number has another listener."""
    return number % 3 == 1


def write(folder: Path, ports: Ports, number: int, routes: int) -> None:
    """Write the configuration of a number, and the module beside it."""
    (folder / "reloaded_policies.py").write_text(MODULE.format(number=number))
    text = _text(ports, number, routes)
    if is_broken(number):
        text = _broken(folder, text, number, ports)
    (folder / "gateway.yaml").write_text(text)


def _text(ports: Ports, number: int, routes: int) -> str:
    listen = [f'"127.0.0.1:{ports.gateway}"']
    if has_second_listener(number):
        listen.append(f'"127.0.0.1:{ports.second}"')
    # Each configuration has all endpoints but one, with other weights.
    used = [port for index, port in enumerate(ports.answers) if index != number % len(ports.answers)]
    endpoints = ", ".join(
        f'{{url: "http://127.0.0.1:{port}", weight: {1 + (number + index) % 3}}}' for index, port in enumerate(used)
    )
    lines = [
        f"listen: [{', '.join(listen)}]",
        "services:",
        f"  answers: {{endpoints: [{endpoints}], balance: {'round_robin' if number % 2 else 'p2c'}}}",
        f'  events: {{endpoints: ["http://127.0.0.1:{ports.events}"]}}',
        f'  sockets: {{endpoints: ["http://127.0.0.1:{ports.sockets}"]}}',
        "routes:",
        "  - {path: /answers/*, service: answers, policies: [{python: 'reloaded_policies:mark'}]}",
        f"  - {{path: /version, respond: {{body: '{number}'}}}}",
    ]
    if number % 2 == 0:  # who is connected stays connected, also when the route is gone
        lines += ["  - {path: /events, service: events}", "  - {path: /sockets, service: sockets}"]
    names = [f"/more{(index + number) % (2 * routes)}" for index in range(routes)]
    lines += [f"  - {{path: {name}/*, service: answers, strip: {name}}}" for name in names]
    return "\n".join(lines) + "\n"


def _broken(folder: Path, text: str, number: int, ports: Ports) -> str:
    """Break a configuration in one of four ways."""
    kind = number // BREAKS_EVERY % 4
    if kind == 0:
        return text + "  - {path: /x, servise: answers}\n"
    if kind == 1:
        return text.replace("routes:", "routes: [", 1)
    if kind == 2:
        (folder / "reloaded_policies.py").write_text("raise RuntimeError('this module is broken')\n")
        return text
    return text.replace("listen: [", f'listen: ["127.0.0.1:{ports.events}", ', 1)  # somebody else's address
