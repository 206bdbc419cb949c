"""Streams of JSON objects, cut anywhere, are read object by object, and nothing in them grows without bound."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.services.discovery._json_splitter import Splitter, StreamError

TEXT = st.text(max_size=4) | st.sampled_from(['"', "\\", '\\"', "{", "}", "\\u0022", "a}{b", '"}\n{"'])
VALUES = st.recursive(TEXT | st.integers(-9, 9), lambda inner: st.dictionaries(TEXT, inner, max_size=2), max_leaves=4)
OBJECTS = st.lists(st.dictionaries(TEXT, VALUES, max_size=3), max_size=4)


@given(OBJECTS, st.sampled_from([b"", b"\n", b"\r\n", b" \n\n"]), st.data())
def test_objects_are_found_wherever_the_stream_is_cut(objects: list[Any], between: bytes, data: st.DataObject) -> None:
    stream = between.join(orjson.dumps(each) for each in objects)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    splitter, found = Splitter(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.feed(stream[start:end])
    assert found == objects
    assert splitter.empty


@given(OBJECTS)
def test_objects_are_found_when_every_byte_comes_alone(objects: list[Any]) -> None:
    stream = b"".join(orjson.dumps(each, option=orjson.OPT_INDENT_2) for each in objects)
    splitter = Splitter()
    assert [each for byte in stream for each in splitter.feed(bytes([byte]))] == objects


def test_an_object_comes_as_soon_as_its_last_byte_is_there() -> None:
    splitter = Splitter()
    assert splitter.feed(b'{"a": "}') == []
    assert not splitter.empty
    assert splitter.feed(b'"}') == [{"a": "}"}]


@pytest.mark.parametrize("data", [b"[1]", b'"a"', b"}", b"\x1e{}", b"<html>", b"{]}", b"{'a': 1}", b'{"a": \xff}'])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(StreamError):
        Splitter().feed(data)


def test_an_object_has_a_greatest_size_and_a_stream_has_none() -> None:
    splitter = Splitter(limit=20)
    assert splitter.feed(b'{"a": 1}' * 100) == [{"a": 1}] * 100
    with pytest.raises(StreamError, match="more than 20 bytes"):
        splitter.feed(b'{"a": "' + b"x" * 20)
