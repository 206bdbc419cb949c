"""Requests that carry a token, and what their answers must be to the byte. Client and service agree on it here."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from itertools import count

PIECE_BYTES = 16_384
_numbers = count()


def pattern(token: bytes, size: int) -> bytes:
    """Make a body that belongs to one request and to no other."""
    unit = token + b"."
    return (unit * (size // len(unit) + 1))[:size]


def content(token: bytes, received: bytes, size: int) -> bytes:
    """Say what a service answers: the token, what it got for a body, and a body of `size` bytes."""
    return b"%b %d %08x\n%b" % (token, len(received), zlib.crc32(received), pattern(token, size))


@dataclass(frozen=True, slots=True)
class Ask:
    """One request.

    Attributes:
        service: the first segment of the path, which leads to a service: "steady", "shaky", "limited", "policed".
        upload: the body in pieces; `None` for none at all.
        chunked: the upload is sent in chunks, without a length.
        size: of the answer's body, in bytes.
        options: further words to the service: `chunked=1`, `wait=MS` before the answer, `pause=MS` between its pieces,
            `early=1` for an answer before the upload is read.
        status: what the gateway must answer when all is well.
    """

    token: bytes
    service: str
    method: bytes = b"GET"
    upload: tuple[bytes, ...] | None = None
    chunked: bool = False
    size: int = 0
    options: str = ""
    status: int = 200
    expects: bool = False

    @property
    def head(self) -> bytes:
        """The request's head."""
        framing = b""
        if self.upload is not None:
            length = sum(map(len, self.upload))
            framing = b"transfer-encoding: chunked\r\n" if self.chunked else b"content-length: %d\r\n" % length
        if self.expects:
            framing += b"expect: 100-continue\r\n"
        target = f"/{self.service}/{self.token.decode()}?size={self.size}&{self.options}".encode()
        return b"%b %b HTTP/1.1\r\nhost: soak.test\r\nx-token: %b\r\n%b\r\n" % (
            self.method, target, self.token, framing,
        )  # fmt: skip

    @property
    def body(self) -> list[bytes]:
        """The upload as it is sent, its framing included."""
        if not self.chunked or self.upload is None:
            return list(self.upload or ())
        return [*(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in self.upload), b"0\r\n\r\n"]

    @property
    def raw(self) -> bytes:
        """The whole request."""
        return self.head + b"".join(self.body)

    @property
    def answer(self) -> bytes:
        """The body that must come back."""
        if self.method == b"HEAD":
            return b""
        received = b"" if "early" in self.options else b"".join(self.upload or ())
        return content(self.token, received, self.size)


def new_token() -> bytes:
    """Make a token that no other request has."""
    return b"t%09d" % next(_numbers)


def upload_of(token: bytes, size: int) -> tuple[bytes, ...]:
    """Make a body to be sent, in pieces."""
    data = pattern(b"up-" + token, size)
    return tuple(data[at : at + PIECE_BYTES] for at in range(0, size, PIECE_BYTES)) or (b"-",)


def ordinary(choose: random.Random) -> Ask:
    """Make one of the requests that most traffic is made of."""
    token = new_token()
    service = choose.choices(("steady", "shaky", "policed"), (6, 3, 1))[0]
    size = choose.choices((0, 200, 5_000, 100_000), (4, 8, 3, 1))[0]
    options = choose.choices(("", "chunked=1", "wait=5"), (6, 2, 1))[0]
    kind = choose.random()
    if kind < 0.1:
        return Ask(token, service, b"HEAD", size=size)
    if kind < 0.65:
        return Ask(token, service, size=size, options=options)
    upload = upload_of(token, choose.choice((1, 300, 20_000, 150_000)))
    method = choose.choice((b"POST", b"PUT"))
    return Ask(token, service, method, upload, chunked=kind > 0.85, size=size, options=options)
