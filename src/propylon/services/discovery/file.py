"""Endpoints from a file in YAML or JSON, reread when it changes.

    discover:
      file: users.yaml                   # beside the configuration file; short for {path: users.yaml}

    - http://10.0.0.1:8080               # the file: URLs, or mappings
    - {url: "http://10.0.0.2:8080", weight: 3, priority: 1, zone: eu-1a}

The content of the file is read every second. Notifications of the system (inotify) would be faster, but do not work
with NFS and some container mounts, and watch the wrong file after a rename over it or after Kubernetes has switched the
symbolic link of a ConfigMap. A content is used when two consecutive reads are equal, to ignore partly written lists. If
a file has any error, the last valid endpoints are kept, and the error is logged once. `[]` means that there are no
endpoints; an empty file is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from propylon.config.document import decode, parse
from propylon.config.extensions import validated
from propylon.config.problems import ConfigError, ConfigSource, Problem
from propylon.config.resolve import Resolver
from propylon.config.schema.base import Model
from propylon.config.types import Duration, Int, ServiceUrl, Text, short_form
from propylon.config.validation import from_validation
from propylon.services.discovery import DiscoveryError, EndpointSpec, ProviderContext
from propylon.services.endpoint_list import MAX_PRIORITY, MAX_WEIGHT

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""10,000 endpoints with all keys have about 1 MB."""
SETTLE_S: Final = 0.1
"""Seconds between the two reads that must be equal."""
_MAX_PROBLEMS: Final = 3


class Config(BaseModel):
    """Which file, and how often it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string"))

    path: Text = Field(description="Path of the file, relative to the folder of the configuration file.")
    interval: Annotated[Duration, Field(ge=0.1, le=3600)] = Field(
        default=1.0, description="How often the file is read."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return data if isinstance(data, Mapping) else {"path": data}


class _Entry(Model):
    """One endpoint of the file."""

    url: ServiceUrl
    weight: Annotated[Int, Field(ge=0, le=MAX_WEIGHT)] = 1
    priority: Annotated[Int, Field(ge=0, le=MAX_PRIORITY)] = 0
    zone: Text | None = None


def _entry(value: Any) -> Any:
    if isinstance(value, str):
        return {"url": value}
    if isinstance(value, Mapping):
        return value
    raise ValueError("should be a URL, or {url, weight, priority, zone}")


_ENTRIES: Final = TypeAdapter(list[Annotated[_Entry, BeforeValidator(_entry)]])


class Provider:
    """Discovery by polling a file."""

    def __init__(self, config: Config, context: ProviderContext) -> None:
        self._path = Path(context.base_dir, config.path)
        self._interval = config.interval
        self._rejected: bytes | str | None = None

    async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
        """Yield the endpoints of the file, initially and after each change of its content."""
        last: bytes | None = None
        while True:
            content = await self._stable_content(last)
            # A rejected content is not reported again. Waiting here detects a corrected file within the interval;
            # raising again would wait for the growing retry delay.
            if content != last and content != self._rejected:
                yield await self._read(content)
                self._rejected = None
                last = content if isinstance(content, bytes) else None
            await asyncio.sleep(self._interval)

    async def _stable_content(self, last: bytes | None) -> bytes | str:
        """Return the content when two reads are equal, or why it cannot be read."""
        content = await asyncio.to_thread(_read_bytes, self._path)
        while content != last:
            await asyncio.sleep(SETTLE_S)
            before, content = content, await asyncio.to_thread(_read_bytes, self._path)
            if content == before:
                break
        return content

    async def _read(self, content: bytes | str) -> list[EndpointSpec]:
        try:
            if isinstance(content, str):
                raise DiscoveryError(f"{self._path}: {content}")
            return await asyncio.to_thread(endpoints_of, content, str(self._path))
        except DiscoveryError:
            self._rejected = content
            raise


def endpoints_of(content: bytes, name: str) -> list[EndpointSpec]:
    """Return the endpoints of a file.

    Args:
        content: YAML or JSON.
        name: name of the file in messages.

    Raises:
        DiscoveryError: with the places of the first errors.
    """
    try:
        source = _source(content, name)
        entries = validated(_ENTRIES.validate_python, source.data)
    except ConfigError as error:
        raise DiscoveryError(_summary(error.problems)) from None
    except ValidationError as error:
        raise DiscoveryError(_summary(from_validation(error, source))) from None
    return [EndpointSpec(entry.url, entry.weight, entry.priority, entry.zone) for entry in entries]


def _source(content: bytes, name: str) -> ConfigSource:
    """Parse YAML, which includes nearly all JSON. Raises `ConfigError`."""
    try:
        root = parse(decode(content, name), name)
    except ConfigError:
        # JSON may be indented with tabs, YAML may not.
        try:
            return ConfigSource(name, orjson.loads(content))
        except orjson.JSONDecodeError:
            pass
        raise
    if root is None:
        raise ConfigError([Problem(name, None, None, "", "is empty", "write [] when there are no endpoints")])
    resolver = Resolver(name, Path(), environment={})
    source = resolver.source(root)
    if resolver.problems:
        raise ConfigError(resolver.problems)
    return source


def _read_bytes(path: Path) -> bytes | str:
    """Return the content of the file, or a message why it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if len(content) > MAX_FILE_BYTES:
        return f"is larger than {MAX_FILE_BYTES // 2**20} MiB, which no list of endpoints is"
    return content


def _summary(problems: Sequence[Problem]) -> str:
    more = len(problems) - _MAX_PROBLEMS
    return "; ".join(map(str, problems[:_MAX_PROBLEMS])) + (f"; and {more} more" if more > 0 else "")
