"""Converts the container list of a Docker Engine to the endpoints of one service. No I/O.

Source: Docker Engine API, operation ContainerList (`GET /containers/json`): the fields used here have had the same
meaning since version 1.24.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from propylon.services.discovery import EndpointSpec
from propylon.services.endpoint_list import MAX_WEIGHT, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ENABLE: Final = "propylon.enable"
SERVICE: Final = "propylon.service"
PORT: Final = "propylon.port"
WEIGHT: Final = "propylon.weight"
SCHEME: Final = "propylon.scheme"
NETWORK: Final = "propylon.network"
COMPOSE_SERVICE: Final = "com.docker.compose.service"
"""Docker Compose, "Specification": the label that Compose puts on each container."""
_NUMBER: Final = re.compile(r"[0-9]{1,5}")
_BOOLEANS: Final = {"true": True, "false": False}


class Selection(NamedTuple):
    """Which containers belong to a service, and how to connect to them.

    Attributes:
        service: its name, compared with the labels.
        require_label: whether only containers with `propylon.enable=true` are used.
        port: port in the container unless labelled; None for the lowest TCP port it exposes.
        scheme: scheme unless labelled.
        network: network to connect in unless labelled; None for the first by name.
        published: whether to connect to ports published on the host.
        host: address of the host, for published ports and for containers in the host network.
    """

    service: str
    require_label: bool
    port: int | None
    scheme: Literal["http", "https"]
    network: str | None
    published: bool
    host: str


def endpoints(containers: Sequence[Any], selection: Selection) -> tuple[list[EndpointSpec], list[str]]:
    """Return the endpoints of the service, sorted by URL, and the problem of each unusable container."""
    by_id = {container["Id"]: container for container in containers}
    found, problems = [], []
    for container in containers:
        labels = container.get("Labels") or {}
        try:
            if _belongs(container, labels, selection):
                found.append(_endpoint(container, labels, selection, by_id))
        except ValueError as error:
            problems.append(f"container {shown(_name(container))}: {error}")
    return sorted(found, key=lambda each: each.url), problems


def _belongs(container: Any, labels: Mapping[str, str], selection: Selection) -> bool:
    """Return whether the container is labelled as part of this service.

    Names of Compose services and of containers are not unique across projects: they count only for containers that are
    enabled explicitly.
    """
    name = labels.get(SERVICE) or labels.get(COMPOSE_SERVICE) or _name(container)
    if name != selection.service:
        return False
    text = labels.get(ENABLE)
    if text is None:
        return SERVICE in labels and not selection.require_label
    if text.strip().lower() not in _BOOLEANS:
        raise ValueError(f"its label {ENABLE}={shown(text)} is neither true nor false")
    return _BOOLEANS[text.strip().lower()]


def _endpoint(
    container: Any, labels: Mapping[str, str], selection: Selection, by_id: Mapping[str, Any]
) -> EndpointSpec:
    scheme = labels.get(SCHEME, selection.scheme)
    if scheme not in ("http", "https"):
        raise ValueError(f"its label {SCHEME}={shown(scheme)} is neither http nor https")
    weight = _number(labels, WEIGHT, 0, MAX_WEIGHT)
    host, port = _host_and_port(container, labels, selection, by_id)
    return EndpointSpec(f"{scheme}://{_in_url(host)}:{port}", 1 if weight is None else weight)


def _host_and_port(
    container: Any, labels: Mapping[str, str], selection: Selection, by_id: Mapping[str, Any]
) -> tuple[str, int]:
    port = _number(labels, PORT, 1, 65535) or selection.port
    mode = str((container.get("HostConfig") or {}).get("NetworkMode", ""))
    if mode == "host":
        if port is None:
            raise ValueError(f"it is in the host's network, which tells no port: give it the label {PORT}")
        return selection.host, port
    owner = by_id.get(mode.removeprefix("container:")) if mode.startswith("container:") else container
    if owner is None:
        raise ValueError("the container whose network it shares does not run, or is not healthy")
    if port is None:
        port = min((private for private, _, _ in _ports(owner)), default=None)
        if port is None:
            raise ValueError(f"it exposes no TCP port: give it the label {PORT}")
    if selection.published:
        return _published(owner, port, selection.host)
    return _address(owner, labels.get(NETWORK, selection.network)), port


def _address(container: Any, network: str | None) -> str:
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    if network is not None and network not in networks:
        raise ValueError(f"it is not in the network {shown(network)}, but in {shown(', '.join(networks)) or 'none'}")
    for name in [network] if network is not None else sorted(networks):
        address = networks[name].get("IPAddress") or networks[name].get("GlobalIPv6Address")
        if address:
            return str(address)
    raise ValueError("it has no address in a network: reach it by published ports, or put it into one")


def _published(container: Any, private: int, host: str) -> tuple[str, int]:
    for inside, public, address in _ports(container):
        if inside == private and public is not None:
            return (host if address is None or ipaddress.ip_address(address).is_unspecified else address), public
    raise ValueError(f"its port {private} is not published")


def _ports(container: Any) -> Iterator[tuple[int, int | None, str | None]]:
    """Yield the TCP ports: in the container, on the host, and the address they are published at."""
    for port in container.get("Ports") or ():
        if port.get("Type") == "tcp":
            yield int(port["PrivatePort"]), port.get("PublicPort"), port.get("IP") or None


def _number(labels: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    text = labels.get(name)
    if text is None:
        return None
    text = text.strip()
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise ValueError(f"its label {name}={shown(text)} is no whole number of {least} to {most}")
    return int(text)


def _name(container: Any) -> str:
    """Return the container's own name; names by links contain another slash."""
    names = [str(name).lstrip("/") for name in container.get("Names") or ()]
    return next((name for name in names if "/" not in name), str(container["Id"])[:12])


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
