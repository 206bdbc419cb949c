"""One short round of the failures run: no client notices what happens to endpoints. `scripts/failures` does twenty."""

from __future__ import annotations

import uvloop
from bench.failures.run import failures
from bench.failures.settings import Settings


def test_no_client_notices_what_happens_to_endpoints() -> None:
    verdict = uvloop.run(failures(Settings(rounds=1, ill=0.8, well=0.1)))
    assert not verdict.faults, str(verdict)
