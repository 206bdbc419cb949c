"""The host of a request: its `Host` field or the authority of its target (RFC 9110 7.2, RFC 3986 3.2.2).

Rules of this file:

- One canonical spelling: lower case, no final dot, IPv6 compressed and in brackets, a port without leading zeros. An
  empty port (`host:`) means no port (RFC 3986 6.2.3).
- Stricter than RFC 3986: a name has letters, digits, '-', '_', '~' and single dots. Lists, user names, paths,
  escapes, zone identifiers and non-ASCII bytes are refused, since implementations disagree about them.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

_NAME = re.compile(rb"[A-Za-z0-9_~-]+(?:\.[A-Za-z0-9_~-]+)*\.?")
_IPV6 = re.compile(rb"\[([0-9A-Fa-f:.]{2,45})\]")
_PORT = re.compile(rb"0*([0-9]{1,5})")
_MAX_NAME = 255  # bytes; RFC 1035 2.3.4


class HostError(ValueError):
    """An invalid host.

    Attributes:
        code: always `read.bad_host`.
        detail: the cause; safe to show to the client.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.code = "read.bad_host"
        self.detail = detail


class Host(NamedTuple):
    """A canonical host: name (an IPv6 address in brackets) and port, None if none was given."""

    name: bytes
    port: bytes | None

    @property
    def text(self) -> bytes:
        """The host as the value of a Host field."""
        return self.name if self.port is None else b"%b:%b" % (self.name, self.port)


def parse_host(value: bytes) -> Host:
    """Parse `name`, `name:port`, `[ipv6]` or `[ipv6]:port`. Raises `HostError`."""
    if value[:1] == b"[":
        literal, bracket, tail = value.partition(b"]")
        return Host(_ipv6(literal + bracket), _port(tail))
    name, colon, digits = value.partition(b":")
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        raise HostError(_describe_error(value, name))
    return Host(name.lower().removesuffix(b"."), _port(colon + digits))


def _ipv6(literal: bytes) -> bytes:
    match = _IPV6.fullmatch(literal)
    try:
        address = IPv6Address(match[1].decode("ascii") if match else "")
    except AddressValueError:
        raise HostError("the host's brackets hold no IPv6 address (RFC 3986 3.2.2)") from None
    return b"[" + address.compressed.encode("ascii") + b"]"


def _port(tail: bytes) -> bytes | None:
    """Check what follows the name: nothing, ':' or ':' with a port."""
    if tail in (b"", b":"):
        return None
    match = _PORT.fullmatch(tail, 1) if tail[:1] == b":" else None
    digits = match[1].lstrip(b"0") if match else b""
    if not digits or (len(digits) == 5 and digits > b"65535"):
        raise HostError("the host's port is not a number from 1 to 65535 (RFC 3986 3.2.3)")
    return digits


def _describe_error(value: bytes, name: bytes) -> str:
    if not value:
        return "the host is empty (RFC 9112 3.2)"
    if b"," in value or b" " in value or b"\t" in value:
        return "the host is a list or has white space; exactly one host is needed (RFC 9112 3.2)"
    if b"@" in value:
        return "the host has a user name (RFC 9110 4.2.4)"
    if b"/" in value or b"?" in value or b"#" in value or b"\\" in value:
        return "the host has a path, query or fragment; only host and port are allowed (RFC 9110 7.2)"
    if not name:
        return "the host has a port but no name (RFC 3986 3.2.2)"
    if not name.isascii():
        return "the host is not ASCII; international names are sent as 'xn--...' (RFC 5890)"
    if len(name) > _MAX_NAME:
        return f"the host's name is longer than {_MAX_NAME} bytes (RFC 1035 2.3.4)"
    return "the host has a character that no host name has, or an empty label (RFC 3986 3.2.2)"
