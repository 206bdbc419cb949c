"""What tests of client connections share."""

from __future__ import annotations

import pytest

from propylon.engine import exchange as exchange_module
from propylon.engine import timed as timed_module
from propylon.inbound import http1, http1_body, http1_lifetime
from tests.support.fakes import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still, for connections and their exchanges."""
    return Clock(monkeypatch, http1, http1_body, http1_lifetime, exchange_module, timed_module)
