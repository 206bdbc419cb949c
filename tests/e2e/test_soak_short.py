"""Five seconds of the soak run: nothing lost, nothing mixed, nothing left open. `scripts/soak` runs it for longer."""

from __future__ import annotations

import uvloop
from bench.soak.asks import Ask, content
from bench.soak.ledger import Ledger
from bench.soak.run import soak
from bench.soak.samples import is_flat
from bench.soak.settings import Settings
from bench.soak.wire import Reply

SHORT = Settings(
    seconds=5.0, rate=300.0, outage_every=1.5, outage_seconds=0.5, keep_alive_seconds=3.0, write_seconds=1.5
)


def test_a_short_soak_finds_nothing() -> None:
    verdict = uvloop.run(soak(SHORT))
    assert not verdict.faults, str(verdict)


ASK = Ask(b"t1", "shaky", size=10)
GOOD = Reply(200, {"x-token": "t1"}, content(b"t1", b"", 10), complete=True)
PROBLEM = Reply(503, {"content-type": "application/problem+json"}, b'{"status": 503}', complete=True)
CUT = Reply(200, {"x-token": "t1"}, content(b"t1", b"", 10)[:-3])


def judged(ask: Ask, reply: Reply | None, in_outage: bool) -> int:
    ledger = Ledger()
    if in_outage:
        ledger.service_dies()
    ledger.settle(ask, reply, since=float("inf") if not in_outage else 0.0)
    return ledger.broken


def test_the_ledger_sees_what_is_lost_mixed_or_cut() -> None:
    mixed_head = Reply(200, {"x-token": "t2"}, GOOD.body, complete=True)
    mixed_body = Reply(200, {"x-token": "t1"}, content(b"t2", b"", 10), complete=True)
    plain_503 = Reply(503, {"content-type": "text/plain"}, b"no", complete=True)
    assert judged(ASK, GOOD, in_outage=False) == 0
    assert [judged(ASK, reply, in_outage=False) for reply in (None, mixed_head, mixed_body, PROBLEM, CUT)] == [1] * 5
    assert [judged(ASK, reply, in_outage=True) for reply in (GOOD, PROBLEM, CUT)] == [0] * 3
    assert [judged(ASK, reply, in_outage=True) for reply in (None, mixed_head, mixed_body, plain_503)] == [1] * 4
    assert judged(Ask(b"t1", "steady", size=10), PROBLEM, in_outage=True) == 1


def test_memory_may_grow_by_a_tenth_or_by_8_mb() -> None:
    assert is_flat(50_000_000, 57_000_000)
    assert is_flat(500_000_000, 540_000_000)
    assert not is_flat(50_000_000, 60_000_000)
