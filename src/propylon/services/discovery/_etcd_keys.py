"""Endpoints from the etcd keys below a prefix, updated by watch events. No I/O.

Source of the messages: etcd's pages "API" (sections "Range", "Watch API") and "Why gRPC gateway": 64-bit numbers are
strings in JSON, keys and values base64, and fields with their default value are left out.
"""

from __future__ import annotations

import base64
import logging
from typing import Any, Final, NamedTuple

import orjson

from propylon.services.discovery import DiscoveryError, EndpointSpec
from propylon.services.endpoint_list import shown

log = logging.getLogger("propylon.discovery")

MAX_KEYS: Final = 10_000
_PARTS: Final = ("url", "weight", "priority", "zone")


def prefix_end(prefix: bytes) -> bytes:
    r"""Return the end of the range of all keys that begin with `prefix`: the first key behind them.

    A last byte 0xff has no successor, so the one before it is raised; if there is none, `\0` stands for "to the last
    key" ("API", section "Range": `range_end`).
    """
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"


def parse_value(value: bytes) -> EndpointSpec:
    """Parse the value of a key: a URL, or JSON `{"url": …, "weight": …, "priority": …, "zone": …}`.

    Raises:
        ValueError: it is neither; the parts are validated later, by the watch.
    """
    text = value.strip()
    if not text.startswith(b"{"):
        try:
            return EndpointSpec(text.decode())
        except UnicodeDecodeError:
            raise ValueError("is no text: write a URL, or JSON with a url") from None
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error}") from None
    unknown = [key for key in data if key not in _PARTS]
    if unknown:
        raise ValueError(f"has the unknown key {unknown[0]!r}: write url, weight, priority or zone")
    if "url" not in data:
        raise ValueError('has no url: write {"url": "http://host:port"}')
    return EndpointSpec(**data)


class _Entry(NamedTuple):
    revision: int
    found: EndpointSpec | None


class Keys:
    """The keys below a prefix.

    Attributes:
        revision: the revision of the store up to which all changes are applied.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._entries: dict[bytes, _Entry] = {}

    def replace(self, response: Any) -> None:
        """Replace the keys by a range response. Raises `DiscoveryError` if it is incomplete."""
        if response.get("more") or int(response.get("count", 0)) > MAX_KEYS:
            raise DiscoveryError(f"more than {MAX_KEYS} keys begin with the prefix")
        before, self._entries = self._entries, {}
        for pair in response.get("kvs") or ():
            self._put(pair, before)
        self.revision = int(response["header"]["revision"])

    def apply(self, result: Any) -> bool:
        """Apply one message of a watch, and return whether it has changes."""
        events = result.get("events") or ()
        for event in events:
            pair = event["kv"]
            if event.get("type") == "DELETE":
                self._entries.pop(base64.b64decode(pair["key"]), None)
            else:
                self._put(pair, self._entries)
            self.revision = int(pair["mod_revision"])
        if len(self._entries) > MAX_KEYS:
            raise DiscoveryError(f"more than {MAX_KEYS} keys begin with the prefix")
        if not events and not result.get("created"):  # progress notification: all changes up to it were sent
            self.revision = max(self.revision, int(result["header"]["revision"]))
        return bool(events)

    def found(self) -> tuple[EndpointSpec, ...]:
        """Return the endpoints in the order of their keys.

        Raises:
            DiscoveryError: there are keys, but no valid endpoint; that is an error, and not "no endpoints".
        """
        found = tuple(entry.found for _, entry in sorted(self._entries.items()) if entry.found is not None)
        if self._entries and not found:
            raise DiscoveryError("none of the keys below the prefix has an endpoint as its value")
        return found

    def _put(self, pair: Any, before: dict[bytes, _Entry]) -> None:
        key, revision = base64.b64decode(pair["key"]), int(pair["mod_revision"])
        entry = before.get(key)
        if entry is None or entry.revision != revision:
            entry = _Entry(revision, self._parsed(key, pair.get("value", "")))
        self._entries[key] = entry

    def _parsed(self, key: bytes, value: str) -> EndpointSpec | None:
        try:
            return parse_value(base64.b64decode(value))
        except ValueError as error:
            log.warning("etcd: the value of %s %s; it is left out", shown(key.decode(errors="replace")), error)
            return None
