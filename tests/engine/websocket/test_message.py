"""A message as policies see and change it."""

from __future__ import annotations

from typing import Any

import pytest

from propylon.engine.websocket.message import Message


@pytest.mark.parametrize("value", [bytearray(b"x"), 5, None])
def test_a_message_is_text_or_bytes(value: Any) -> None:
    message = Message("x")
    with pytest.raises(TypeError):
        message.data = value
    assert message.data == "x"


def test_text_is_what_utf_8_can_say() -> None:
    message = Message("x")
    with pytest.raises(ValueError, match="surrogates"):
        message.data = "\ud800"
    assert message.data == "x"


def test_it_can_be_replaced_by_one_of_the_other_kind_and_dropped() -> None:
    message = Message("x")
    message.data = b"xy"
    assert repr(message) == "<Message binary of 2>"
    assert not message.dropped
    message.drop()
    assert message.dropped
