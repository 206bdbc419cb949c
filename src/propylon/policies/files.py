"""Serve the files of a directory, as an app beside its API.

    routes:
      - path: /api/*
        target: http://127.0.0.1:3001
      - path: /*
        files: {root: dist, fallback: index.html}
      - path: /downloads/*
        strip: /downloads
        files: {root: downloads, precompressed: [br, gzip], cache_control: "public, max-age=3600"}

The path, after `strip` or `rewrite` of the route, names the file below `root`. A directory is its `index`, and is
redirected to with a final slash; directories are not listed. `fallback` answers for what does not exist, so that an app
can have routes of its own.

GET and HEAD are answered, with ETag, Last-Modified, conditional requests and byte ranges. `precompressed` are codings
whose files lie beside the others, as `app.js.br`. Nothing outside of `root` is served, by whatever spelling or symbolic
link, and no file or directory whose name begins with a dot, except `.well-known`, unless `hidden` allows it.
"""

from __future__ import annotations

import asyncio
import mimetypes
from contextlib import closing
from os import fstat
from os.path import isdir
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, Literal, NamedTuple
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import Bool, ExistingDirectory, Text, short_form
from propylon.engine.errors import GatewayError
from propylon.engine.request_out import rewritten_path
from propylon.engine.response import Response
from propylon.http.accept import preferred
from propylon.http.conditional import Validators, precondition, range_applies
from propylon.http.ranges import UnsatisfiableRange, parse_range

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope

PIECE_BYTES: Final = 256 * 1024
_SUFFIXES: Final = {"br": ".br", "gzip": ".gz", "zstd": ".zst"}
_METHODS: Final = ("GET", "HEAD")


class Config(BaseModel):
    """The directory."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string"))

    root: ExistingDirectory = Field(description="The directory; a relative one is beside the configuration file.")
    index: Text | None = Field(default="index.html", description="The file that a directory stands for.")
    fallback: Text | None = Field(default=None, description="The file, below `root`, for a path that does not exist.")
    precompressed: tuple[Literal["br", "gzip", "zstd"], ...] = Field(
        default=(), description="Codings whose files lie beside the others, the preferred one first."
    )
    cache_control: Annotated[str, Field(pattern=r"^[\x20-\x7e]+$")] | None = Field(
        default=None, description="Cache-Control of the files, except of `index` and `fallback`, which get no-cache."
    )
    hidden: Bool = Field(default=False, description="Serve files whose name begins with a dot, too.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"root": data} if isinstance(data, str | Path) else data


class _File(NamedTuple):
    """An open file, and what it is.

    Attributes:
        path: of the file that was asked for, without the suffix of a coding.
        coding: its content coding; empty for none.
        stale: a client has to ask each time whether it has changed.
    """

    content: BinaryIO
    path: Path
    coding: str
    stale: bool

    @property
    def size(self) -> int:
        """In bytes."""
        return fstat(self.content.fileno()).st_size

    @property
    def validators(self) -> Validators:
        """Its ETag and Last-Modified."""
        status = fstat(self.content.fileno())
        return Validators(f'"{status.st_mtime_ns:x}-{status.st_size:x}{self.coding[:1]}"', int(status.st_mtime))


class _Directory(Exception):
    """The path without a final slash names a directory."""


class Policy:
    """Serves files."""

    def __init__(self, config: Config, scope: Scope) -> None:
        self._config = config
        self._root = config.root.resolve()

    async def on_request(self, x: Exchange) -> Response:
        """Return the file.

        Raises:
            GatewayError: match.no_file, match.method, read.bad_target.
        """
        if x.request.method not in _METHODS:
            raise GatewayError("match.method", headers={"allow": ", ".join(_METHODS)})
        name = rewritten_path(x).decode("latin-1")
        codings = preferred(x.request.headers.get("accept-encoding"), self._config.precompressed)
        try:
            file = await asyncio.to_thread(self._find, name, x.path.endswith(b"/"), codings)
        except _Directory:
            query = "" if x.request.query is None else f"?{x.request.query}"
            return Response(308, headers={"location": f"{x.request.path}/{query}"})
        if file is None:
            raise GatewayError("match.no_file")
        x.defer(file.content.close)
        return self._response(x, file)

    def _find(self, name: str, final_slash: bool, codings: list[str]) -> _File | None:
        path = self._path(name)
        if path is not None and isdir(path):  # unlike Path.is_dir it refuses nothing
            if not final_slash and path.resolve().is_relative_to(self._root):
                raise _Directory
            path = None if self._config.index is None else path / self._config.index
        elif final_slash:
            path = None
        stale = path is not None and path.name == self._config.index
        found = None if path is None else self._open(path, codings, stale=stale)
        if found is None and self._config.fallback is not None:
            found = self._open(self._root / self._config.fallback, codings, stale=True)
        return found

    def _path(self, name: str) -> Path | None:
        """Return the path below the root that a path of a URL names."""
        segments = [unquote_to_bytes(segment).decode("utf-8", "surrogateescape") for segment in name.split("/")]
        segments = [segment for segment in segments if segment]
        if any("/" in segment or "\0" in segment or segment in (".", "..") for segment in segments):
            return None
        if not self._config.hidden and any(each.startswith(".") and each != ".well-known" for each in segments):
            return None
        return self._root.joinpath(*segments)

    def _open(self, path: Path, codings: list[str], *, stale: bool) -> _File | None:
        for coding in (*codings, ""):
            try:
                real = path.with_name(path.name + _SUFFIXES.get(coding, "")).resolve()
                if not real.is_relative_to(self._root) or not real.is_file():
                    continue
                content = real.open("rb")
            except (OSError, ValueError, RuntimeError):  # a name that is too long, a loop of links
                continue
            if S_ISREG(fstat(content.fileno()).st_mode):
                return _File(content, path, coding, stale)
            content.close()
        return None

    def _response(self, x: Exchange, file: _File) -> Response:
        now, size = file.validators, file.size
        headers = {"etag": now.etag, "last-modified": now.last_modified, "accept-ranges": "bytes"}
        if self._config.precompressed:
            headers["vary"] = "accept-encoding"
        control = "no-cache" if file.stale and self._config.cache_control else self._config.cache_control
        if control:
            headers["cache-control"] = control
        fields = x.request.headers
        status = precondition(x.request.method, fields, now)
        if status != 200:
            return Response(status, headers=headers)
        headers |= {"content-type": _content_type(file.path), "x-content-type-options": "nosniff"}
        if file.coding:
            headers["content-encoding"] = file.coding
        asked = fields.get("range") if x.request.method == "GET" and range_applies(fields, now) else None
        try:
            part = parse_range(asked, size)
        except UnsatisfiableRange:
            return Response(416, headers={"content-range": f"bytes */{size}"})
        if part is None:
            return Response(200, body=_pieces(file.content, 0, size), length=size, headers=headers)
        headers["content-range"] = part.content_range(size)
        return Response(206, body=_pieces(file.content, part.first, part.length), length=part.length, headers=headers)


async def _pieces(content: BinaryIO, first: int, length: int) -> AsyncIterator[bytes]:
    with closing(content):
        content.seek(first)
        while length > 0 and (piece := await asyncio.to_thread(content.read, min(length, PIECE_BYTES))):
            length -= len(piece)
            yield piece
    if length > 0:
        raise GatewayError("response.policy_failed", log="the file became shorter while it was sent")


def _content_type(path: Path) -> str:
    kind, coding = mimetypes.guess_type(path.name)
    if kind is None or coding is not None:
        return {"gzip": "application/gzip", "br": "application/octet-stream"}.get(
            coding or "", "application/octet-stream"
        )
    text = kind.startswith("text/") or kind in ("application/javascript", "application/json", "image/svg+xml")
    return f"{kind}; charset=utf-8" if text else kind
