"""Snapshots of short configurations, and single requests to them."""

from __future__ import annotations

from typing import Any

from propylon.build.snapshot import build_snapshot
from propylon.config.load import validate
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.snapshot import Snapshot
from tests.support.fakes import FakeClient, exchange

ROUTE = {"path": "/*", "respond": "ok"}


def built(*routes: dict[str, Any], **keys: Any) -> Snapshot:
    """The snapshot of routes, or of one that answers everything, with other keys of the gateway."""
    return build_snapshot(validate({"routes": list(routes) or [ROUTE], **keys}))


def asked(made: Snapshot, path: bytes, method: bytes = b"GET") -> tuple[Exchange, FakeClient]:
    """A request that is answered without waiting."""
    client = FakeClient()
    x = exchange(made, client=client, path=path, method=method)
    x.start(forward(x))
    return x, client
