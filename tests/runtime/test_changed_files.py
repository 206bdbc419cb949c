"""Files are taken up once they rest, whatever an editor does to them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from propylon.runtime.changed_files import ChangedFiles, Trace, traces


class Story:
    """What each look finds, in order; `.` for as before, a letter for a content, `-` for a file that is gone."""

    def __init__(self, looks: str) -> None:
        self._looks = iter(looks)
        self._now: Trace = (0, 0, 0)
        self.taken = 0

    def look(self, _: object) -> dict[Path, Trace]:
        found = next(self._looks, None)
        if found is None:
            raise asyncio.CancelledError
        if found != ".":
            self._now = None if found == "-" else (ord(found), 0, 0)
        return {Path("p.yaml"): self._now}

    async def changed(self) -> None:
        self.taken += 1

    async def told(self) -> int:
        async def no_sleep(_: float) -> None:
            pass

        watch = ChangedFiles(list, self.changed, Path("p.yaml"), look=self.look, sleep=no_sleep)
        with pytest.raises(asyncio.CancelledError):
            await watch.run()
        return self.taken


@pytest.mark.parametrize(
    ("looks", "taken"),
    [
        ("a.....", 0),
        ("ab....", 1),
        ("abcdef", 0),  # it does not rest yet
        ("abcd.....", 1),  # an editor that writes in pieces
        ("ab..c", 1),
        ("ab..c....", 2),
        ("a-....", 0),
        ("a-...b...", 1),  # removed, then written
        ("a-...a...", 0),  # moved away and back
        ("ab.a....", 2),  # changed while it was read
    ],
)
async def test_a_change_is_taken_up_once_when_it_rests(looks: str, taken: int) -> None:
    assert await Story(looks).told() == taken


@pytest.mark.parametrize(("written", "times"), [(1_000_000_000, 1), (6_000_000_000, 2)])
async def test_a_file_that_counts_only_now_is_read_again_if_it_is_newer(written: int, times: int) -> None:
    """A module that was missing may be written between its absence and the look at it."""
    main, module = Path("p.yaml"), Path("new.py")
    stamp, taken = 0, 0

    def look(paths: Iterable[Path]) -> dict[Path, Trace]:
        return {path: (stamp if path == main else written, 0, 0) for path in paths}

    async def changed() -> None:
        nonlocal taken
        taken += 1

    looks = 0

    async def sleep(_: float) -> None:
        nonlocal looks, stamp
        looks += 1
        stamp = 1
        if looks == 12:
            raise asyncio.CancelledError

    files = lambda: [main, module] if taken else [main]  # noqa: E731
    clock = iter([5_000_000_000, 9_000_000_000])
    watch = ChangedFiles(files, changed, main, look=look, sleep=sleep, time_ns=lambda: next(clock))
    with pytest.raises(asyncio.CancelledError):
        await watch.run()
    assert taken == times


async def test_a_file_that_is_gone_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    await Story("a-......").told()
    assert caplog.text.count("p.yaml is gone") == 1


def test_a_replaced_file_and_what_is_behind_a_link_are_seen(tmp_path: Path) -> None:
    file, link, absent = tmp_path / "a", tmp_path / "link", tmp_path / "absent"
    file.write_text("1")
    link.symlink_to(file)
    before = traces([file, link, absent])
    assert before[absent] is None
    stat = file.stat()
    other = tmp_path / "other"
    other.write_text("2")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.rename(file)  # as large, and with the same time
    after = traces([file, link, absent])
    assert before[file] != after[file]
    assert before[link] != after[link]
