"""A memory that is bounded, and never stands for another key."""

from __future__ import annotations

import pytest

from propylon.http import memo as module
from propylon.http.memo import Memo


def counted() -> tuple[Memo[bytes, int], list[bytes]]:
    made: list[bytes] = []

    def make(key: bytes) -> int:
        made.append(key)
        return len(key)

    return Memo(make), made


@pytest.fixture(autouse=True)
def every_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every miss be looked at."""
    monkeypatch.setattr(module, "_SAMPLED", module._DRAWS)


def test_a_value_is_kept_from_the_second_time_on() -> None:
    memo, made = counted()
    assert [memo[b"abc"], memo[b"abc"], memo[b"abc"], memo[b"ab"]] == [3, 3, 3, 2]
    assert made == [b"abc", b"abc", b"ab"]
    assert list(memo) == [b"abc"]


def test_what_comes_once_drives_out_nothing() -> None:
    memo, made = counted()
    kept = [memo[b"kept"], memo[b"kept"]]
    for number in range(3 * module.MAX_ENTRIES):
        memo[b"%d" % number]
    made.clear()
    assert memo[b"kept"] == kept[0]
    assert made == []


def test_the_size_of_a_key_may_be_told() -> None:
    memo: Memo[tuple[bytes, ...], int] = Memo(len, lambda key: len(key[0]))
    for _ in range(2):
        memo[(b"k" * (module.MAX_KEY_BYTES + 1),)]
        memo[(b"k",)]
    assert list(memo) == [(b"k",)]


def test_an_error_is_not_remembered() -> None:
    answers = iter([ValueError("first"), 7])

    def make(key: bytes) -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    memo = Memo(make)
    with pytest.raises(ValueError, match="first"):
        memo[b"k"]
    assert memo[b"k"] == 7


def test_a_long_key_is_answered_and_not_kept() -> None:
    memo, made = counted()
    kept, long = b"k" * module.MAX_KEY_BYTES, b"k" * (module.MAX_KEY_BYTES + 1)
    assert [memo[long], memo[long], memo[kept], memo[kept]] == [len(long)] * 2 + [len(kept)] * 2
    assert made == [long, long, kept, kept]
    assert list(memo) == [kept]


def test_it_never_holds_more_than_its_bound() -> None:
    memo, _ = counted()
    for number in range(3 * module.MAX_ENTRIES):
        assert [memo[b"%d" % number], memo[b"%d" % number]] == [len(str(number))] * 2
        assert len(memo) <= module.MAX_ENTRIES
    assert len(memo) == module.MAX_ENTRIES


class TestDraws:
    """Which misses are looked at."""

    @pytest.fixture(autouse=True)
    def one_in_four(self, every_miss: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_SAMPLED", module._DRAWS // 4)

    def test_what_repeats_is_kept_soon(self) -> None:
        memo, made = counted()
        for _ in range(100):
            memo[b"abc"]
        assert list(memo) == [b"abc"]
        assert len(made) < 40

    @pytest.mark.parametrize("period", [1, 2, 3, 4, 5, 8, 12, 16, 64])
    def test_all_of_what_comes_in_turns_is_kept(self, period: int) -> None:
        memo, _ = counted()
        for number in range(200 * period):
            memo[b"%d" % (number % period)]
        assert len(memo) == period

    def test_one_miss_in_four_is_looked_at(self) -> None:
        memo, _ = counted()
        for number in range(module._DRAWS):
            memo[b"%d" % number]
        assert memo._draw == 0, "each number was drawn once"
