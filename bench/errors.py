"""The one exception of the benchmark."""

from __future__ import annotations


class Unavailable(Exception):
    """A peer, or a tool, that cannot be measured: one word for the table, and a sentence for the terminal.

    The words: `absent` (not installed and not installable here), `ended` (its process ended), `silent` (no answer in
    time), `errors` (wrong answers under load), `short` (a body did not arrive whole), `slow` (a run passed its bound),
    `limit` (the machine allows too few open files).
    """

    def __init__(self, word: str, detail: str) -> None:
        super().__init__(f"{word}: {detail}")
        self.word = word
        self.detail = detail
