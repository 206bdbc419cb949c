"""The opening handshake, close codes, and frames that the gateway makes itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http import websocket as ws
from propylon.http.websocket import Close, WebSocketError


def test_the_accept_value_is_that_of_rfc_6455_1_3() -> None:
    assert ws.accept_of(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (b"dGhlIHNhbXBsZSBub25jZQ==", True),
        (b"dGhlIHNhbXBsZSBub25jZQ", False),
        (b"dGhlIHNhbXBsZSBub25j", False),
        (b"dGhlIHNhbXBsZSBub25jZQ== ", False),
        (b"not base64 at all!!!!!!=", False),
        (b"\xff" * 24, False),
        (b"", False),
        (None, False),
    ],
)
def test_a_key_is_sixteen_bytes_in_base64(value: bytes | None, good: bool) -> None:
    assert ws.is_key(value) is good


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999])
def test_codes_that_a_close_frame_may_have(code: int) -> None:
    assert ws.read_close(code.to_bytes(2, "big") + b"why") == Close(code, "why")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_codes_that_it_may_not_have(code: int) -> None:
    with pytest.raises(WebSocketError) as caught:
        ws.read_close(code.to_bytes(2, "big"))
    assert caught.value.code == 1002


def test_a_close_frame_may_be_empty_and_not_half() -> None:
    assert ws.read_close(b"") == Close(ws.NO_STATUS)
    with pytest.raises(WebSocketError) as caught:
        ws.read_close(b"\x03")
    assert caught.value.code == 1002


def test_a_reason_is_utf_8() -> None:
    with pytest.raises(WebSocketError) as caught:
        ws.read_close(b"\x03\xe8\xff")
    assert caught.value.code == 1007


@given(st.sampled_from([1000, 1011, 4000]), st.text(max_size=200))
def test_a_payload_is_read_back_but_for_what_has_no_place(code: int, reason: str) -> None:
    payload = ws.close_payload(Close(code, reason))
    assert len(payload) <= 125
    found = ws.read_close(payload)
    assert found.code == code
    assert reason.startswith(found.reason)
    assert found.reason == reason or len(payload) > 121


def test_no_status_is_an_empty_payload() -> None:
    assert ws.close_payload(Close(ws.NO_STATUS, "ignored")) == b""


def test_a_control_frame_is_masked_with_a_mask_only() -> None:
    assert ws.control_frame(ws.PING, b"ab", None) == b"\x89\x02ab"
    assert ws.control_frame(ws.CLOSE, b"ab", b"\x01\x02\x03\x04") == b"\x88\x82\x01\x02\x03\x04" + b"``"


@given(st.binary(max_size=125), st.binary(min_size=4, max_size=4))
def test_masking_twice_is_the_payload(payload: bytes, mask: bytes) -> None:
    masked = ws.apply_mask(payload, mask)
    assert masked == bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    assert ws.apply_mask(masked, mask) == payload
