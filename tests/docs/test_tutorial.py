"""The tutorial and the guides, done as they say: files saved, commands run, and their output compared."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.reader import Reader

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with ExitStack() as started:
        yield Reader(tmp_path, started)


def test_the_tutorial_works_from_top_to_bottom(reader: Reader) -> None:
    assert reader.follows(DOCS / "tutorial.md") > 15


@pytest.mark.parametrize("page", sorted((DOCS / "guides").glob("*.md")), ids=lambda page: page.stem)
def test_a_guide_works_from_top_to_bottom(reader: Reader, page: Path) -> None:
    if page.stem == "node" and shutil.which("node") is None:
        pytest.skip("no Node.js on the PATH")
    assert reader.follows(page) >= 6
