"""Content codings (RFC 9110 8.4): decoding piece by piece, bounded in size.

Rules of this file: bytes in, bytes out. A piece of output has about `PIECE_BYTES`, whatever the input expands to; a
body that expands more than `MAX_RATIO` times is refused, so that a small body cannot fill the memory or the processor's
time; nor can one of many members that are next to empty. br and zstd need libraries, which are imported when they are
first needed.
"""

from __future__ import annotations

import zlib
from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PIECE_BYTES: Final = 64 * 1024
MAX_RATIO: Final = 250  # output to input; JSON and logs reach 50, a bomb of deflate 1000, of br and zstd far more
FREE_BYTES: Final = 1024 * 1024  # of output, before the ratio counts
MAX_CODINGS: Final = 4  # stacked on one body
STEP_BYTES: Final = 16 * 1024  # of input decoded at once: the libraries copy what is left after each member and piece
FREE_MEMBERS: Final = 1000  # of gzip or zstd, before their size counts
MIN_MEMBER_BYTES: Final = 256  # on average; each costs a new decompressor, with 25 µs that of zstd
_MAX_WINDOW_LOG: Final = 23  # 8 MiB, as RFC 9659 3 requires of zstd in HTTP


class CodingError(Exception):
    """A body cannot be decoded; the message says why."""


class UnknownCodingError(CodingError):
    """A body has a coding that is not known, or whose library is not installed."""


class ExpandsTooMuchError(CodingError):
    """A body expands too much."""


class _Decoder(Protocol):
    """Decodes one coding."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode a piece, as far as it goes."""

    @property
    def complete(self) -> bool:
        """Whether the data may end here."""


class ContentDecoder:
    """Decodes a body with one or more codings."""

    __slots__ = ("_growth", "_stages")

    def __init__(self, codings: Iterable[str]) -> None:
        """Make a decoder of `codings`, in the order in which they were applied (RFC 9110 8.4).

        Raises:
            UnknownCodingError: one of them cannot be decoded, or there are too many.
        """
        names = tuple(codings)
        if len(names) > MAX_CODINGS:
            raise UnknownCodingError(f"{len(names)} content codings on one body")
        self._stages = [_Stage(name) for name in reversed(names)]
        self._growth = _Growth(" in ".join(names)) if len(names) > 1 else None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode a piece. Raises `CodingError`; the decoder cannot be used afterwards."""
        pieces: Iterator[bytes] = iter((data,))
        for stage in self._stages:
            pieces = stage.through(pieces)
        return pieces if self._growth is None else self._growth.through(len(data), pieces)

    def end(self) -> None:
        """Check that the body is complete; an empty one is. Raises `CodingError`."""
        for stage in self._stages:
            stage.end()


class _Growth:
    """How much data grows by one coding, or by all of them together."""

    __slots__ = ("_name", "_read", "_written")

    def __init__(self, name: str) -> None:
        self._name = name
        self._read = self._written = 0

    @property
    def begun(self) -> bool:
        """Whether anything was read."""
        return self._read > 0

    def through(self, read: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pass on what `read` bytes expand to. Raises `ExpandsTooMuchError`."""
        self._read += read
        written = 0
        for piece in pieces:
            written += len(piece)
            self._written += len(piece)
            # Of all that has come, and of this piece: a body must not save up for a bomb.
            if _too_much(written, read) or _too_much(self._written, self._read):
                raise ExpandsTooMuchError(f"the {self._name} data expands more than {MAX_RATIO} times")
            yield piece


class _Stage:
    """One coding, with its bounds."""

    __slots__ = ("_decoder", "_growth", "_name")

    def __init__(self, name: str) -> None:
        make = _maker(name)
        if make is None:
            raise UnknownCodingError(f"the content coding {name!r} cannot be decoded")
        self._name = name
        self._decoder: _Decoder = make()
        self._growth = _Growth(name)

    def through(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        try:
            for data in pieces:
                yield from self._growth.through(len(data), self._steps(data))
        except CodingError:
            raise
        except _errors():
            raise CodingError(f"the data is not valid {self._name}") from None

    def _steps(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), STEP_BYTES):
            yield from self._decoder.feed(data[start : start + STEP_BYTES])

    def end(self) -> None:
        if self._growth.begun and not self._decoder.complete:
            raise CodingError(f"the {self._name} data is cut off")


def _too_much(written: int, read: int) -> bool:
    return written > FREE_BYTES and written > MAX_RATIO * read


class _Members:
    """Counts the members of a body, which must not be next to empty in the long run."""

    __slots__ = ("_count", "_read")

    def __init__(self) -> None:
        self._count = self._read = 0

    def read(self, size: int) -> None:
        """Count bytes of input."""
        self._read += size

    def begin(self) -> None:
        """Count a member. Raises `ExpandsTooMuchError`."""
        self._count += 1
        if self._count > FREE_MEMBERS and self._count * MIN_MEMBER_BYTES > self._read:
            raise ExpandsTooMuchError(f"{self._count} members in {self._read} bytes")


def codings_of(values: Iterable[str]) -> list[str]:
    """Return the codings named by Content-Encoding fields, in order; `identity` is none (RFC 9110 8.4.1)."""
    names = (name.strip().lower() for value in values for name in value.split(","))
    return ["gzip" if name == "x-gzip" else name for name in names if name not in ("", "identity")]


def supported() -> tuple[str, ...]:
    """Return the codings that can be decoded with what is installed."""
    return tuple(name for name in _MAKERS if _maker(name) is not None)


@lru_cache(maxsize=256)
def acceptable(offered: str) -> str:
    """Return the part of an Accept-Encoding field that can be decoded (RFC 9110 12.5.3); `identity` for none."""
    kept = []
    for element in offered.split(","):
        name, _, weight = (part.strip() for part in element.partition(";"))
        refused = weight.replace(" ", "").lower() in ("q=0", "q=0.0", "q=0.00", "q=0.000")
        if name and (refused or name.lower() in ("identity", "x-gzip") or name.lower() in supported()):
            kept.append(element.strip())
    return ", ".join(kept) or "identity"


class _Gzip:
    """gzip: members one after the other, then perhaps zero bytes (RFC 1952 2.2)."""

    def __init__(self) -> None:
        self._member: Any = None
        self._members = _Members()
        self._any = False

    @property
    def complete(self) -> bool:
        return self._any and self._member is None

    def feed(self, data: bytes) -> Iterator[bytes]:
        more = False
        self._members.read(len(data))
        while data or more:
            if self._member is None:
                data = data.lstrip(b"\0") if self._any else data
                if not data:
                    return
                self._members.begin()
                self._member, self._any = zlib.decompressobj(16 + zlib.MAX_WBITS), True
            member = self._member
            piece = member.decompress(data, PIECE_BYTES)
            more = not member.eof and len(piece) == PIECE_BYTES
            data = member.unused_data if member.eof else member.unconsumed_tail
            if member.eof:
                self._member = None
            if piece:
                yield piece


class _Deflate:
    """deflate: the zlib format, or raw deflate as some servers send it (RFC 9110 8.4.1.2)."""

    def __init__(self) -> None:
        self._inflate: Any = None
        self._start = b""

    @property
    def complete(self) -> bool:
        return self._inflate is not None and self._inflate.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._inflate is None:
            data = self._start = self._start + data
            if len(data) < 2:
                return
            zlib_header = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0  # RFC 1950 2.2
            self._inflate, self._start = zlib.decompressobj(zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS), b""
        inflate, more = self._inflate, False
        while data or more:
            if inflate.eof:
                raise CodingError("data follows the end of the deflate data")
            piece = inflate.decompress(data, PIECE_BYTES)
            more = not inflate.eof and len(piece) == PIECE_BYTES
            data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            if piece:
                yield piece


class _Brotli:
    """br (RFC 7932)."""

    def __init__(self) -> None:
        self._decompressor = import_module("brotli").Decompressor()

    @property
    def complete(self) -> bool:
        return bool(self._decompressor.is_finished())

    def feed(self, data: bytes) -> Iterator[bytes]:
        decompressor = self._decompressor
        if data and decompressor.is_finished():
            raise CodingError("data follows the end of the br data")
        while True:
            piece = decompressor.process(data, output_buffer_limit=PIECE_BYTES)
            data = b""
            if piece:
                yield piece
            if decompressor.is_finished() or (not piece and decompressor.can_accept_more_data()):
                return


class _Zstd:
    """zstd: frames one after the other (RFC 8878 3)."""

    def __init__(self) -> None:
        self._library = _zstd()
        self._frame: Any = None
        self._members = _Members()
        self._any = False

    @property
    def complete(self) -> bool:
        return self._any and self._frame is None

    def feed(self, data: bytes) -> Iterator[bytes]:
        more = False
        self._members.read(len(data))
        while data or more:
            if self._frame is None:
                self._members.begin()
                options = {self._library.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG}
                self._frame, self._any = self._library.ZstdDecompressor(options=options), True
            frame = self._frame
            piece = frame.decompress(data, PIECE_BYTES)
            more = not frame.eof and not frame.needs_input
            data = frame.unused_data if frame.eof else b""
            if frame.eof:
                self._frame = None
            if piece:
                yield piece


_MAKERS: Final[dict[str, Callable[[], _Decoder]]] = {
    "gzip": _Gzip,
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": _Zstd,
}


@cache
def _maker(name: str) -> Callable[[], _Decoder] | None:
    """Return what makes a decoder; `None` if the coding is unknown or its library is missing."""
    make = _MAKERS.get(name)
    try:
        if make is not None:
            make()
    except (ImportError, TypeError, AttributeError):  # not installed, or too old
        return None
    return make


@cache
def _zstd() -> Any:
    try:
        return import_module("compression.zstd")  # Python 3.14
    except ImportError:
        return import_module("backports.zstd")


@cache
def _errors() -> tuple[type[Exception], ...]:
    """Return the exceptions for invalid data, of the libraries that are installed."""
    found: list[type[Exception]] = [zlib.error, EOFError]
    if _maker("br") is not None:
        found.append(import_module("brotli").error)
    if _maker("zstd") is not None:
        found.append(_zstd().ZstdError)
    return tuple(found)
