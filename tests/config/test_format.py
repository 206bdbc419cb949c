"""Formatting of files: what it changes, what it leaves, and that it never changes what a file means."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.config import document
from propylon.config.format import FormatError, formatted
from propylon.config.problems import ConfigError
from propylon.config.resolve import Resolver

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "examples").rglob("*.yaml"))

UNTIDY = """


# head
listen:   127.0.0.1:8080   # tail   \t
services:
    users: &u
        endpoints:   [http://a,{url: "http://b",  weight : 2},
                      http://c ]
        # about balance
        balance: p2c

        # end of users


    other:
      <<: *u
routes:
- path: /*
  service: users
  # end of item
-   path: /b
    respond:
          body: |
                hello
                  world

          json: {a: , *u : [*u ]}
    docs: >-
        folded
        text
# at the margin
-    path: /c
     respond: "several
       lines"
#   commented: out

- - a
  -   - b
      - c
# end

"""
TIDY = """\
# head
listen: 127.0.0.1:8080 # tail
services:
  users: &u
    endpoints: [http://a, {url: "http://b", weight: 2},
                http://c]
    # about balance
    balance: p2c

    # end of users

  other:
    <<: *u
routes:
  - path: /*
    service: users
    # end of item
  - path: /b
    respond:
      body: |
        hello
          world

      json: {a: , *u : [*u]}
    docs: >-
      folded
      text
  # at the margin
  - path: /c
    respond: "several
      lines"
  #   commented: out

  - - a
    - - b
      - c
# end
"""


def comments(text: str) -> list[str]:
    return re.findall(r"(?:^|(?<=\s))#.*?(?=\s*$)", text, re.MULTILINE)


def data(text: str) -> Any:
    root = document.parse(text, "f")
    return None if root is None else Resolver("f", Path(), {}).source(root).data


def test_indentation_spaces_and_blank_lines_are_normalised() -> None:
    assert formatted(UNTIDY, "f") == TIDY
    assert formatted(TIDY, "f") == TIDY
    assert comments(TIDY) == comments(UNTIDY)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ""),
        ("\n\n", ""),
        ("# only a comment", "# only a comment\n"),
        ("a: 1", "a: 1\n"),
        ("\ufeffa: 1\r\nb:   2\r\n", "a: 1\nb: 2\n"),
        ("a:\n  b: 1\n# of c\nc: 2", "a:\n  b: 1\n# of c\nc: 2\n"),
        ("a:\n    b: 1\n    # of b\nc: 2", "a:\n  b: 1\n  # of b\nc: 2\n"),
        ("a:\n- b\n  # deep\n- c", "a:\n  - b\n  # deep\n  - c\n"),
        ("a: |+\n     x\n\n\nb: 1", "a: |+\n  x\n\n\nb: 1\n"),
        ("a: |\n     x\n\n\nb: 1", "a: |\n  x\n\nb: 1\n"),
        ("a: |2\n     x\n    y", "a: |2\n     x\n    y"),
        ("a:\n- |2\n     x\n    y\n", "a:\n  - |2\n       x\n      y\n"),
        ("a: >  # why\n   x\n\n   y\n", "a: > # why\n  x\n\n  y\n"),
        ("%YAML 1.2\n---   # start\na: 1\n...\n", "%YAML 1.2\n--- # start\na: 1\n...\n"),
        ("a: [\n  b,\n    # why\n    c,\n]", "a: [\n  b,\n    # why\n    c,\n]\n"),
        ("a:\n    b: [\n      c,\n    ]", "a:\n  b: [\n    c,\n  ]\n"),
        ("a:     [b,\n        c]", "a: [b,\n    c]\n"),
        ("a:\n     plain\n     text", "a:\n  plain\n  text\n"),
        ("?   a\n:   b", "? a\n: b\n"),
        ("-   &x   a: 1", "- &x a: 1\n"),
        ("- &x\n     a: 1\n- !!str   b", "- &x\n  a: 1\n- !!str b\n"),
        ("{a: 1,b: 2}", "{a: 1, b: 2}\n"),
        ("a: {  }", "a: {}\n"),
        ("ü:   '𝄞'   # ♪", "ü: '𝄞' # ♪\n"),
    ],
)
def test_a_text_becomes_this(text: str, result: str) -> None:
    found = formatted(text.removeprefix("\ufeff"), "f")
    assert found == result
    assert formatted(found, "f") == found


def test_what_is_no_yaml_is_refused() -> None:
    with pytest.raises(ConfigError, match="f:1:5: not YAML"):
        formatted("a: [}", "f")


def test_what_would_mean_something_else_is_refused() -> None:
    with pytest.raises(FormatError, match="cannot be formatted without changing"):
        formatted("   ---\n", "f")  # text, not the beginning of a document


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_are_formatted(path: Path) -> None:
    assert formatted(path.read_text("utf-8"), "f") == path.read_text("utf-8")


# Any file: written with random indentation, spaces, comments, blank lines and styles

SCALARS = st.sampled_from(["a", "'q#q'", '"d: d"', "12", "x y", "~", "http://a:1/b", "'q\n\n     r'", '"d\n d"'])
BLOCK_TEXT = st.sampled_from(["|", "|-", "|+", ">", ">-", ">+"])
NAMES = st.lists(st.sampled_from(["a", "b", "key", "'q'", "x-y", "9"]), min_size=1, max_size=3, unique=True)


@st.composite
def flows(draw: st.DrawFn, depth: int = 2) -> str:
    if depth == 0 or draw(st.booleans()):
        return draw(SCALARS.filter(lambda text: "\n" not in text))
    gap = draw(st.sampled_from(["", " ", "  ", "\n      ", " # in flow\n        "]))
    items = draw(st.lists(flows(depth - 1), max_size=3))
    if draw(st.booleans()):
        return f"[{gap}{f',{gap}'.join(items)}{gap}]"
    space = draw(st.sampled_from([" ", "   "]))
    pairs = [f"k{number}:{space}{item}" for number, item in enumerate(items)]
    return f"{{{gap}{f',{gap}'.join(pairs)}{gap}}}"


@st.composite
def blocks(draw: st.DrawFn, indent: int, depth: int) -> str:
    """Lines of a mapping or list whose entries begin in the column `indent`."""
    margin = " " * indent
    noise = st.sampled_from(["", "", "", "\n", "\n\n\n", f"{margin}# own line\n", f"{margin}   # deeper\n", "# left\n"])
    lines = []
    is_list = draw(st.booleans())
    for name in draw(NAMES):
        lines.append(draw(noise))
        begin = f"{margin}-" if is_list else f"{margin}{name}:"
        space = " " * draw(st.integers(1, 3))
        kind = draw(st.sampled_from(["scalar", "flow", "text", "block"] if depth else ["scalar", "flow", "text"]))
        anchor = f" &n{draw(st.integers(0, 9))}" if draw(st.integers(0, 5)) == 0 else ""
        if kind == "block":
            further = indent + draw(st.integers(1, 4))
            lines.append(f"{begin}{anchor}\n{draw(blocks(further, depth - 1))}")
        elif kind == "text":
            step = " " * (indent + draw(st.integers(1, 5)))
            header = draw(BLOCK_TEXT)
            lines.append(f"{begin}{space}{header}\n{step}# no comment\n\n{step}  more\n{step}end\n" + draw(noise))
        else:
            value = draw(flows() if kind == "flow" else SCALARS).replace("\n", f"\n{margin}  ")
            tail = draw(st.sampled_from(["", "", "  # tail"]))
            lines.append(f"{begin}{anchor}{space}{value}{tail}\n")
    return "".join(lines)


@given(blocks(0, 3))
def test_formatting_changes_no_meaning_and_no_comment_and_is_stable(text: str) -> None:
    try:
        document.parse(text, "f")
    except ConfigError:
        return
    found = formatted(text, "f")
    assert data(found) == data(text)
    assert comments(found) == comments(text)
    assert formatted(found, "f") == found
    assert found.endswith("\n")


PIECES = [
    "a", "b: ", "- ", "-   ", "\n", "\n  ", "\n    ", "{", "}", "[", "]", ", ", " # c\n", "# d\n", "'q\n  r'", '"s"',
    "|\n", "|+\n", ">-\n  ", "&x ", "*x", "? ", ": ", "---\n", "  ", "|2\n    ", "\n\n", "!!str ", "\t", "<<: *x",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_any_yaml_is_formatted_or_refused(pieces: list[str]) -> None:
    text = "".join(pieces)
    try:
        found = formatted(text, "f")
    except (ConfigError, FormatError):
        return
    assert formatted(found, "f") == found
