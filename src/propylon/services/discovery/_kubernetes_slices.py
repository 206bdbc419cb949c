"""Endpoints from the EndpointSlices of one Kubernetes service, updated by watch events. No I/O.

Source: Kubernetes' pages "EndpointSlices" (sections "Address types", "Conditions", "Topology information", "Duplicate
endpoints"), "EndpointSlice v1" of the API reference (what a missing value of a condition means), and "Kubernetes API
Concepts" (sections "Efficient detection of changes", "Watch bookmarks").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from propylon.services.discovery import DiscoveryError, EndpointSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_SLICES: Final = 10_000
_GONE: Final = 410
_FAMILIES: Final = {"ipv4": "IPv4", "ipv6": "IPv6"}


class ExpiredError(Exception):
    """The changes since our resourceVersion have expired: the slices must be listed again."""


class Wanted(NamedTuple):
    """Which addresses and ports of the slices are used.

    Attributes:
        port: name or number of the port; None for the only one.
        scheme: `http` or `https`; None for that of the port's `appProtocol`.
        family: address family of dual-stack pods.
    """

    port: str | int | None
    scheme: Literal["http", "https"] | None
    family: Literal["ipv4", "ipv6"]


class _Candidate(NamedTuple):
    """An endpoint of a slice; `pod` identifies the pod across address families."""

    url: str
    pod: str
    family: str
    ready: bool
    zone: str | None


class Slices:
    """The slices of a service.

    Attributes:
        version: the resourceVersion up to which all changes are applied; opaque, only sent back.
    """

    def __init__(self) -> None:
        self.version = ""
        self._slices: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._slices)

    def replace(self, items: Sequence[Any], version: str) -> None:
        """Replace the slices by a complete list."""
        if len(items) > MAX_SLICES:
            raise DiscoveryError(f"the service has more than {MAX_SLICES} EndpointSlices")
        self._slices = {item["metadata"]["name"]: item for item in items}
        self.version = version

    def apply(self, event: Any) -> bool:
        """Apply one event of a watch, and return whether a slice has changed.

        Raises:
            ExpiredError: the resourceVersion of the watch is too old.
            DiscoveryError: the server reports another failure.
        """
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            if item.get("code") == _GONE:
                raise ExpiredError
            raise DiscoveryError(f"the watch failed: {item.get('code')} {item.get('message') or item.get('reason')}")
        version = item["metadata"]["resourceVersion"]
        if kind in ("ADDED", "MODIFIED"):
            self._slices[item["metadata"]["name"]] = item
            if len(self._slices) > MAX_SLICES:
                raise DiscoveryError(f"the service has more than {MAX_SLICES} EndpointSlices")
        elif kind == "DELETED":
            self._slices.pop(item["metadata"]["name"], None)
        self.version = version
        return bool(kind != "BOOKMARK")

    def found(self, wanted: Wanted) -> tuple[EndpointSpec, ...]:
        """Return the endpoints, sorted by URL.

        An endpoint that is terminating but serving gets weight 0, so that it drains; if none is ready, all of them get
        requests, as with kube-proxy (KEP-1669).

        Raises:
            DiscoveryError: there are endpoints, but the port is ambiguous or missing.
        """
        chosen: dict[str, _Candidate] = {}
        for each in _one_of_each_pod(self._candidates(wanted), _FAMILIES[wanted.family]):
            if each.url not in chosen or each.ready:
                chosen[each.url] = each
        some_ready = any(each.ready for each in chosen.values())
        return tuple(
            EndpointSpec(each.url, 0 if some_ready and not each.ready else 1, zone=each.zone)
            for _, each in sorted(chosen.items())
        )

    def _candidates(self, wanted: Wanted) -> list[_Candidate]:
        found: list[_Candidate] = []
        problem = None
        for _, item in sorted(self._slices.items()):
            usable = [(each, ready) for each in item.get("endpoints") or () if (ready := _ready(each)) is not None]
            if not usable:
                continue
            try:
                port, scheme = _port(item.get("ports") or (), wanted)
            except ValueError as error:
                problem = str(error)
                continue
            found += (_candidate(item["addressType"], each, ready, scheme, port) for each, ready in usable)
        if problem is not None and not found:
            raise DiscoveryError(problem)
        return found


def _one_of_each_pod(candidates: Sequence[_Candidate], preferred: str) -> Iterator[_Candidate]:
    """Return the candidates without the other family of pods that have an address of the preferred one."""
    pods = {each.pod for each in candidates if each.family == preferred}
    return (each for each in candidates if each.family == preferred or each.pod not in pods)


def _ready(endpoint: Any) -> bool | None:
    """Return whether an endpoint is ready; False if terminating but serving, None if it does not serve.

    A missing `ready` means true, a missing `serving` the value of `ready`, a missing `terminating` false.
    """
    conditions = endpoint.get("conditions") or {}
    ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    if conditions.get("terminating"):
        return False if (ready if serving is None else serving) else None
    return True if ready else None


def _candidate(family: str, endpoint: Any, ready: bool, scheme: str, port: int) -> _Candidate:
    address = str(endpoint["addresses"][0])  # the addresses of one endpoint are equivalent (API reference)
    url = f"{scheme}://{f'[{address}]' if family == 'IPv6' else address}:{port}"
    pod = (endpoint.get("targetRef") or {}).get("uid") or url
    hints = [hint["name"] for hint in (endpoint.get("hints") or {}).get("forZones") or ()]
    zone = endpoint.get("zone")
    return _Candidate(url, pod, family, ready, hints[0] if hints and zone not in hints else zone)


def _port(ports: Sequence[Any], wanted: Wanted) -> tuple[int, str]:
    """Return the port's number and scheme; raises `ValueError`."""
    tcp = [port for port in ports if port.get("protocol", "TCP") == "TCP"]
    if wanted.port is None:
        matching = tcp
    else:
        key = "port" if isinstance(wanted.port, int) else "name"
        matching = [port for port in tcp if (port.get(key) or "") == wanted.port]
        if not matching and isinstance(wanted.port, int) and (not ports or any(not port.get("port") for port in tcp)):
            matching = [{"port": wanted.port}]  # a slice without ports, or a port without number, means all
    numbers = {port["port"] for port in matching if port.get("port")}
    if len(numbers) != 1:
        names = ", ".join(f"{port.get('name') or 'without name'} ({port.get('port')})" for port in tcp) or "none"
        what = "which port is meant" if wanted.port is None else f"which port is {wanted.port!r}"
        raise ValueError(f"the service does not tell {what}: write the name or number of one of its ports: {names}")
    protocol = next((port["appProtocol"] for port in matching if port.get("appProtocol")), "http")
    return numbers.pop(), wanted.scheme or ("https" if protocol.lower() in ("https", "kubernetes.io/wss") else "http")
