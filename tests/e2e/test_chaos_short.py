"""Twenty seconds of the chaos run: every stream ends as it should for both sides. `scripts/chaos` takes longer."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import uvloop
from bench.chaos import journal
from bench.chaos.endings import CUT, INSIDE, WHOLE, Endings
from bench.chaos.journal import Entry, Journal
from bench.chaos.run import chaos
from bench.chaos.settings import Settings
from bench.soak.ledger import Ledger

SHORT = Settings(seconds=20.0, rate=100.0, outage_every=4.0, outage_seconds=0.5, write_seconds=2.0)


def test_a_short_chaos_finds_nothing() -> None:
    verdict = uvloop.run(chaos(SHORT))
    assert not verdict.faults, str(verdict)


# the ledger


def judged(how: str, *allowed: str, service: str = "steady", outage: bool = False) -> int:
    """Violations that a client's ending is worth."""
    ledger = Ledger()
    if outage:
        ledger.service_dies()
    Endings(ledger).client("t1", how, *allowed, since=monotonic(), service=service)
    return ledger.broken


def reconciled(
    *entries: Entry, allowed: str = "1001 client_gone", service: str = "steady", outage: bool = False, **options: float
) -> int:
    """Violations that the stream t1 is worth, for which a service wrote down `entries`."""
    ledger = Ledger()
    if outage:
        ledger.service_dies()
    endings = Endings(ledger)
    endings.service("t1", allowed, since=monotonic(), service=service, **options)  # type: ignore[arg-type]
    endings.reconcile(entries)
    return ledger.broken


def ended(how: str, token: str = "t1", late: float = 0.0) -> Entry:
    return Entry(token, how, monotonic() + late)


def test_a_client_must_get_one_of_the_endings_allowed() -> None:
    assert judged("1000 bye", "1000 bye") == 0
    assert judged("1002 bad opcode", "1002 *") == 0
    for how in ("1000 ", "1011 upstream_error", CUT, INSIDE, WHOLE, "503", ""):
        assert judged(how, "1000 bye") == 1


def test_only_the_shaky_service_and_only_its_death_excuse_and_not_everything() -> None:
    for how in ("1011 upstream_error", "503", INSIDE):
        assert judged(how, "1000 bye", service="shaky", outage=True) == 0
        assert judged(how, "1000 bye", service="shaky") == 1
        assert judged(how, "1000 bye", outage=True) == 1
    for how in (CUT, "1001 client_gone", "500", ""):
        assert judged(how, "1000 bye", service="shaky", outage=True) == 1


def test_a_service_must_learn_how_its_stream_ended_and_soon() -> None:
    assert reconciled(ended("1001 client_gone"), within=1.0) == 0
    assert reconciled(ended("1006 "), within=1.0) == 1
    assert reconciled(ended("1001 client_gone", late=1.5), within=1.0) == 1
    assert reconciled() == 1
    assert reconciled(optional=True) == 0
    assert reconciled(service="shaky", outage=True) == 0


def test_what_no_client_had_must_reach_no_service() -> None:
    assert reconciled(ended("1001 client_gone"), ended("1006 ", token="t2")) == 1


def test_a_service_that_has_still_to_write_is_missed() -> None:
    endings = Endings(Ledger())
    endings.service("t1", "*", since=0.0)
    assert endings.missing([ended("1006 ", token="t2")])
    assert not endings.missing([ended("1006 ")])


def test_a_journal_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    for token in ("t1", "t2"):
        Journal(path).write(token, "4999 därum")
    assert [(entry.token, entry.how) for entry in journal.read(path)] == [("t1", "4999 därum"), ("t2", "4999 därum")]
