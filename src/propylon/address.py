"""Addresses of endpoints and of listeners, parsed once when the configuration is loaded.

Rules of the file:

- Pure: a text becomes a value or an `AddressError`; nothing is resolved, bound or connected.
- Ambiguous forms are refused with a message that says what to write: user names, queries, fragments, numeric
  spellings of IPv4 such as `127.1`, international names that are not punycode.
- The prefix of every forwarded path (`base_path`) is normalized in the same way as request paths.
- `unix:` is followed by the absolute path of a socket, on both sides.
"""

import ipaddress
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from propylon.http.host import HostError, parse_host
from propylon.http.target import KEEP_ALL, TargetError, canonical_path

MAX_UNIX_PATH_BYTES: Final = 107
"""Bytes of a socket path on Linux: `sun_path` has 108, including the terminating zero (unix(7))."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)")
# Some programs parse a name with a numeric last label as an IPv4 address, others as a name.
_NUMERIC_END: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_FORMS: Final = "write http://host:port, https://host:port or unix:/path/to.sock"
_LISTEN: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\]|([A-Za-z0-9._-]*)):([0-9]{1,5})")
_LISTEN_FORMS: Final = "write 127.0.0.1:8080, [::1]:8080, :8080 (all addresses) or unix:/path/to.sock"

SocketAddress = tuple[str, int]
"""One end of a TCP connection: an IP address in canonical text, and a port."""


class AddressError(ValueError):
    """An address that cannot be used; the message names it and says what to write instead."""


@dataclass(frozen=True, slots=True)
class EndpointAddress:
    """One endpoint.

    Attributes:
        scheme: `http` or `https`; `http` for a Unix socket.
        host: lower case; an IPv6 address without brackets; empty for a Unix socket.
        port: 1 to 65535; 0 for a Unix socket.
        unix_path: the path of the socket, or None.
        base_path: canonical and without a final slash; empty if there is none.
        authority: the Host field value: host[:port] without the scheme's default port; `localhost` for a Unix socket.
        is_ip: whether `host` is an IP address and needs no name resolution.
        root: the path of a request of whose path nothing is left: the base path, with its final slash if it has one.
    """

    scheme: str
    host: str
    port: int
    unix_path: str | None
    base_path: bytes
    authority: bytes
    is_ip: bool
    root: bytes = field(default=b"/", compare=False)  # the same endpoint with and without the slash

    @classmethod
    def parse(cls, url: str) -> "EndpointAddress":
        """Parse `http://host[:port][/base]`, `https://…` or `unix:/path[:/base]`. Raises `AddressError`."""
        if not url.isascii() or not url.isprintable() or " " in url:
            raise AddressError(
                f"{url!r} has a space, a control or a non-ASCII character: "
                "write international names in punycode (xn--...) and escape other characters as %XX"
            )
        for mark, what in (("#", "fragment"), ("?", "query")):
            if mark in url:
                raise AddressError(f"{url!r} has a {what}: an endpoint is an address and at most a base path")
        found = _SCHEME.fullmatch(url)
        scheme = found[1].lower() if found else ""
        if found and scheme == "unix":
            return _parse_unix(cls, url, found[2])
        if found is None or scheme not in _DEFAULT_PORTS or not found[2].startswith("//"):
            raise AddressError(_scheme_problem(url, scheme, found[2] if found else ""))
        return _parse_tcp(cls, url, scheme, found[2][2:])

    @property
    def is_name(self) -> bool:
        """Whether `host` is a name whose addresses may change: not `localhost` (RFC 6761, section 6.3)."""
        return not (self.is_ip or self.unix_path is not None or f".{self.host}".endswith(".localhost"))

    def __str__(self) -> str:
        base = self.base_path.decode("ascii")
        if self.unix_path is not None:
            return f"unix:{self.unix_path}" + (f":{base}" if base else "")
        return f"{self.scheme}://{self.authority.decode('ascii')}{base}"


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """The address that a listener binds.

    Attributes:
        host: lower case; an IPv6 address without brackets; empty for all addresses, IPv4 and IPv6, and a Unix socket.
        port: 0 to 65535; 0 for any free port, and for a Unix socket.
        unix_path: the path of the socket, or None.
    """

    host: str
    port: int
    unix_path: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ListenAddress":
        """Parse `host:port`, `[ipv6]:port`, `:port` or `unix:/path`; port 0 is any free port. Raises `AddressError`."""
        if text.startswith("unix:"):
            return cls("", 0, _socket_path(text, text.removeprefix("unix:")))
        found = _LISTEN.fullmatch(text)
        if found is None:
            raise AddressError(f"{text!r} is no address to listen at: {_LISTEN_FORMS}")
        if int(found[3]) > 65535:
            raise AddressError(f"{text!r}: a port is a number from 0 to 65535")
        return cls((found[1] or found[2]).lower(), int(found[3]))

    def __str__(self) -> str:
        if self.unix_path is not None:
            return f"unix:{self.unix_path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listener_ids(addresses: Iterable[ListenAddress]) -> list[str]:
    """Return an id for each listener: its address, and if that is port 0 listed again, its number there.

    It stays the same across reloads, whatever the listener is called.
    """
    seen: Counter[ListenAddress] = Counter()
    found = []
    for address in addresses:
        seen[address] += 1
        found.append(str(address) if seen[address] == 1 else f"{address} ({seen[address]})")
    return found


def _parse_tcp(cls: type[EndpointAddress], url: str, scheme: str, rest: str) -> EndpointAddress:
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        raise AddressError(f"{url!r} has a user name or password: send credentials with a policy, not in the address")
    if authority.count(":") > 1 and not authority.startswith("["):
        raise AddressError(f"{url!r}: an IPv6 address is written in brackets: {scheme}://[::1]:8080")
    if not authority or authority.startswith(":"):
        raise AddressError(f"{url!r} has no host: {_FORMS}")
    try:
        name, port = parse_host(authority.encode("ascii"))
    except HostError as error:
        raise AddressError(f"{url!r}: {error.detail}") from None
    host = name.decode("ascii").strip("[]")
    is_ip = _is_ip(host)
    if not is_ip and _NUMERIC_END.fullmatch(host):
        raise AddressError(f"{url!r}: {host!r} ends in a number and is not an IPv4 address: write all four numbers")
    number = int(port) if port is not None else _DEFAULT_PORTS[scheme]
    shown = name if number == _DEFAULT_PORTS[scheme] else b"%b:%d" % (name, number)
    root = _root(url, slash + path)
    return cls(scheme, host, number, None, root.rstrip(b"/"), shown, is_ip, root)


def _parse_unix(cls: type[EndpointAddress], url: str, rest: str) -> EndpointAddress:
    path, colon, base = rest.partition(":")
    _socket_path(url, "" if path.startswith("//") else path)  # `//` introduces an authority in every other URL
    if colon and not base.startswith("/"):
        raise AddressError(f"{url!r}: what follows the second ':' is a base path and begins with '/'")
    root = _root(url, base)
    return cls("http", "", 0, path, root.rstrip(b"/"), b"localhost", False, root)


def _socket_path(text: str, path: str) -> str:
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise AddressError(f"{text!r} needs the absolute path of a socket: write unix:/path/to.sock")
    size = len(os.fsencode(path))
    if size > MAX_UNIX_PATH_BYTES:
        raise AddressError(f"{text!r}: the path of a socket has at most {MAX_UNIX_PATH_BYTES} bytes, this has {size}")
    return path


def _root(url: str, path: str) -> bytes:
    try:
        return canonical_path(path.encode("ascii") or b"/", KEEP_ALL)
    except TargetError as error:
        raise AddressError(f"{url!r}: {error.detail}") from None


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _scheme_problem(url: str, scheme: str, rest: str) -> str:
    if scheme in ("ws", "wss"):
        plain = "http" if scheme == "ws" else "https"
        return f"{url!r}: WebSocket goes over HTTP: write {plain}:{rest}"
    if scheme in _DEFAULT_PORTS:
        return f"{url!r} lacks '//' behind the scheme: {_FORMS}"
    if "://" in url:
        return f"{url!r} has the scheme {scheme!r}, which is not known: {_FORMS}"
    return f"{url!r} has no scheme: {_FORMS}"
