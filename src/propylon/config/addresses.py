"""Parsers for addresses of listeners, endpoints, DNS servers and networks.

Rules of the file: pure functions; ambiguous values are refused with a `ValueError` that says what to write. The grammar
of endpoints and listeners is that of `propylon.address`.
"""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, Literal

from propylon.address import AddressError, EndpointAddress, ListenAddress
from propylon.http.host import HostError, parse_host

_DNS_SERVER: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})", re.ASCII)
_HOST: Final = re.compile(r"\*|[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]", re.ASCII)
_NAME_OR_IPV4: Final = re.compile(r"(?:[0-9]+\.){3}[0-9]+|[A-Za-z][A-Za-z0-9.-]*|\*", re.ASCII)
_WITHOUT_SCHEME: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[^\s?#]*)?", re.ASCII)
_DNS_PORT: Final = 53
_REFERENCE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII)

ASGI: Final = "asgi:"
"""The begin of a target that is an application."""


def parse_listen_address(value: object) -> ListenAddress:
    """Return the address of a listener: `127.0.0.1:8080`, `[::1]:8080`, `:8080` or `unix:/run/p.sock`.

    Port 0 stands for any free port. Raises `ValueError` for anything else.
    """
    if isinstance(value, ListenAddress):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError("not an address: write 127.0.0.1:8080, :8080 or unix:/path/to.sock")
    try:
        return ListenAddress.parse(value)
    except AddressError as error:
        raise ValueError(_listen_advice(value) or _without_value(error, value)) from None


def _listen_advice(value: str) -> str | None:
    """Return what to write for a form that other gateways accept, or `None`."""
    words = value.split()
    bare = words[0].rpartition("//")[2].rstrip("/") if words else ""
    host, colon, port = bare.rpartition(":")
    if not colon and bare.isdecimal():
        host, port = "", bare
    elif not colon:
        host, port = bare, "8080"
    if not port.isdecimal() or not _HOST.fullmatch(host) or (bare == value and colon and host != "*"):
        return None
    address = f"{'0.0.0.0' if host in ('', '*') else host}:{port}"  # noqa: S104 - as an advice
    if "ssl" in words[1:]:
        return f"write {{address: {address}, tls: {{certificate: FILE, key: FILE}}}}"
    if not colon and not host:
        return f"a port alone: write 127.0.0.1:{port} for this machine only, or 0.0.0.0:{port} for all interfaces"
    if colon:
        return f"write the address alone: {address}"
    return f"has no port: write {address}" if _NAME_OR_IPV4.fullmatch(host) else None


def check_dns_server(value: object) -> str:
    """Return the address of a DNS server with its port, 53 by default; raises `ValueError`."""
    text = value if isinstance(value, str) else ""
    match = _DNS_SERVER.fullmatch(text)
    try:
        address = ip_address((match[1] or match[2]) if match else text)
    except ValueError:
        raise ValueError("not the address of a DNS server: write 127.0.0.1:53 or [::1]:53") from None
    port = int(match[3]) if match else _DNS_PORT
    if not 1 <= port <= 65535:
        raise ValueError("the port of a DNS server is 1 to 65535")
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def check_endpoint_url(value: object) -> str:
    """Return the URL of an endpoint unchanged; raises `ValueError` for an invalid one."""
    if not isinstance(value, str):
        raise ValueError("not a URL: write http://host:port, https://host:port or unix:/path/to.sock")
    try:
        EndpointAddress.parse(value)
    except AddressError as error:
        if _WITHOUT_SCHEME.fullmatch(value):
            raise ValueError(f"has no scheme: write http://{value}") from None
        raise ValueError(_without_value(error, value)) from None
    return value


def check_target(value: object) -> str:
    """Return the URL of an endpoint or `asgi:module:name` unchanged; raises `ValueError` for anything else."""
    if not isinstance(value, str) or not value.startswith(ASGI):
        return check_endpoint_url(value)
    if _REFERENCE.fullmatch(value, len(ASGI)) is None:
        raise ValueError("not the name of an ASGI application: write asgi:module:name, as in asgi:main:app")
    return value


def parse_cidr(value: object) -> IPv4Network | IPv6Network:
    """Return the network of `10.0.0.0/8`, `2001:db8::/32` or one address.

    Raises `ValueError`, also for an address with bits set beyond the prefix, which is ambiguous.
    """
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError("not a network: write 10.0.0.0/8, 2001:db8::/32 or one address")
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise ValueError("not a network: write 10.0.0.0/8, 2001:db8::/32 or one address") from None
    if "/" in value and network.network_address != ip_address(value.partition("/")[0]):
        raise ValueError(f"has bits set beyond its prefix: write {network} for the network")
    return network


def parse_trusted(value: object) -> IPv4Network | IPv6Network | Literal["unix"]:
    """Return the network of trusted proxies, or the word `unix` for all peers on a Unix socket."""
    return "unix" if value == "unix" else parse_cidr(value)


def check_host_value(value: str) -> str:
    """Return the value of a Host field, `HOST[:PORT]`, in lower case; raises `ValueError`."""
    try:
        host, port = parse_host(value.encode())
    except HostError as error:
        raise ValueError(f"not a host name: {error.detail}") from None
    return (host if port is None else host + b":" + port).decode("ascii")


def _without_value(error: Exception, value: str) -> str:
    """Return a message without the leading value, which is reported separately with its password removed."""
    return str(error).removeprefix(repr(value)).lstrip(": ")
