"""Flow control: several hold one line, and what is unsent is followed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from propylon.transport.flow import FlowControl, Line


class Reading(FlowControl):
    """A connection that notes how its line is used; it may have none."""

    def __init__(self, *, closed: bool = False) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.closed = closed
        self.waiting = 0

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def _line(self) -> Line | None:
        return None if self.closed else self

    def _count_unsent(self) -> int:
        return self.waiting


def test_the_first_holder_pauses_and_the_last_resumes() -> None:
    flow = Reading()
    flow.hold("a")
    flow.hold("b")
    flow.hold("a")
    assert (flow.calls, flow.held) == (["pause"], True)
    flow.release("a")
    flow.release("stranger")
    assert flow.held
    flow.release("b")
    assert (flow.calls, flow.held) == (["pause", "resume"], False)
    flow.release("b")
    assert flow.calls == ["pause", "resume"]


def test_all_holders_can_be_passed_over_at_once() -> None:
    flow = Reading()
    flow.release_all()
    flow.hold("a")
    flow.hold("b")
    flow.release_all()
    assert flow.calls == ["pause", "resume"]


def test_a_closed_line_is_left_alone() -> None:
    flow = Reading(closed=True)
    flow.hold("a")
    flow.release("a")
    assert (flow.calls, flow.held) == ([], False)


def test_progress_is_what_has_left_since_it_was_asked_last() -> None:
    flow = Reading()
    assert not flow.progressed()
    flow.waiting = 10
    assert not flow.progressed()
    flow.waiting = 4
    assert flow.progressed()
    assert not flow.progressed()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3))))
def test_it_reads_while_nobody_holds_it(steps: list[tuple[bool, int]]) -> None:
    flow, holders = Reading(), set[int]()
    for holds, owner in steps:
        if holds:
            flow.hold(owner)
            holders.add(owner)
        else:
            flow.release(owner)
            holders.discard(owner)
        assert flow.held == bool(holders)
        assert (flow.calls[-1:] == ["pause"]) == bool(holders)
