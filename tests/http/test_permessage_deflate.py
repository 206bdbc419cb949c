"""permessage-deflate: what was agreed on, and how large messages are once inflated."""

from __future__ import annotations

import contextlib
import os
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.permessage_deflate import FREE_ENDS, STEP_BYTES, DeflateParameters, InflatedSize, agreed
from propylon.http.websocket import PROTOCOL_ERROR, TOO_BIG, WebSocketError

NO_CONTEXT = DeflateParameters({"client_no_context_takeover": None})


class Deflater:
    """Compresses messages as a peer does."""

    def __init__(self, bits: int = 15, context: bool = True) -> None:
        self._bits, self._context = bits, context
        self._make()

    def _make(self) -> None:
        self._packer = zlib.compressobj(9, zlib.DEFLATED, -self._bits)

    def __call__(self, data: bytes) -> bytes:
        packed = self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        assert packed.endswith(b"\0\0\xff\xff")
        if not self._context:
            self._make()
        return packed[:-4]


def measure(meter: InflatedSize, packed: bytes, step: int = 1000) -> None:
    meter.begin()
    for at in range(0, len(packed), step):
        meter.add(packed[at : at + step], last=False)
    meter.add(b"", last=True)


@pytest.mark.parametrize("value", ["\xb2", "7", "16", "", "1e1", "-9", "12 ", "99999999999"])
def test_a_window_that_is_none_is_the_largest(value: str) -> None:
    made = agreed(f"permessage-deflate; client_max_window_bits={value}".encode("latin-1"))
    assert made is not None
    assert made.window_bits("client") == (12 if value.strip() == "12" else 15)


def test_only_permessage_deflate_alone_is_an_agreement() -> None:
    assert agreed(b"") is None
    assert agreed(b"permessage-deflate, x-other") is None
    assert agreed(b"x-other; permessage-deflate") is None
    made = agreed(b" Permessage-Deflate ; server_no_context_takeover")
    assert made is not None
    assert (made.keeps_context("server"), made.keeps_context("client")) == (False, True)


def test_quoted_windows_are_read() -> None:
    made = agreed(b'permessage-deflate; client_max_window_bits="10"')
    assert made is not None
    assert made.window_bits("client") == 10


@pytest.mark.parametrize("size", [0, 1, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, 70_000])
@pytest.mark.parametrize("step", [1, 10_000])
def test_a_message_of_the_limit_passes_and_one_byte_more_does_not(size: int, step: int) -> None:
    for make in (bytes, os.urandom):
        deflate, meter = Deflater(), InflatedSize(size, DeflateParameters({}), "client")
        measure(meter, deflate(make(size)), step)
        with pytest.raises(WebSocketError) as caught:
            measure(meter, deflate(make(size + 1)), step)
        assert caught.value.code == TOO_BIG


@given(st.lists(st.binary(max_size=500), max_size=8), st.integers(9, 15), st.booleans())
def test_messages_refer_to_earlier_ones_or_do_not(messages: list[bytes], bits: int, context: bool) -> None:
    parameters: dict[str, str | None] = {"server_max_window_bits": str(bits)}
    if not context:
        parameters["server_no_context_takeover"] = None
    deflate = Deflater(bits, context)
    meter = InflatedSize(500, DeflateParameters(parameters), "server")
    for message in [*messages, *messages]:
        measure(meter, deflate(message), 7)


def test_a_bomb_is_not_inflated_beyond_the_limit() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(500_000_000)) + packer.flush(zlib.Z_SYNC_FLUSH)
    meter = InflatedSize(65536, DeflateParameters({}), "client")
    meter.begin()
    with pytest.raises(WebSocketError) as caught:
        meter.add(bomb, last=True)
    assert caught.value.code == TOO_BIG
    assert -STEP_BYTES <= meter._room < 0, "it stops within a step behind the limit"


def test_invalid_data_is_refused_and_a_final_block_begins_anew() -> None:
    meter = InflatedSize(1000, DeflateParameters({}), "client")
    with pytest.raises(WebSocketError) as caught:
        measure(meter, b"\xff\xff\xff")
    assert caught.value.code == PROTOCOL_ERROR
    meter = InflatedSize(1000, NO_CONTEXT, "client")
    for _ in range(3):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        measure(meter, packer.compress(b"x" * 400) + packer.flush() + Deflater()(b"y" * 600))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    with pytest.raises(WebSocketError):
        measure(meter, packer.compress(b"x" * 400) + packer.flush() + Deflater()(b"y" * 601))


def test_without_context_nothing_is_kept_between_messages() -> None:
    meter = InflatedSize(1000, NO_CONTEXT, "client")
    measure(meter, Deflater()(b"hello"))
    assert meter._inflate is None


@given(st.binary(max_size=300))
def test_whatever_comes_is_measured_or_refused(data: bytes) -> None:
    with contextlib.suppress(WebSocketError):
        measure(InflatedSize(10_000, DeflateParameters({}), "client"), data)


def test_a_message_of_nothing_but_final_blocks_is_refused_before_it_takes_time() -> None:
    meter = InflatedSize(1000, DeflateParameters({}), "client")
    meter.begin()
    begun = time.perf_counter()
    with pytest.raises(WebSocketError) as caught:
        meter.add(b"\x03\x00" * 500_000, last=False)
    assert caught.value.code == PROTOCOL_ERROR
    assert time.perf_counter() - begun < 0.2  # a copy of what is left at each block took 16 s


def test_final_blocks_are_a_way_to_flush() -> None:
    meter = InflatedSize(100_000, DeflateParameters({}), "client")
    for _ in range(50):
        measure(meter, b"\x03\x00" * FREE_ENDS + b"\0")  # the byte begins the block that a sender leaves out
    pieces = [os.urandom(100) for _ in range(200)]
    measure(meter, b"".join(zlib.compress(piece, wbits=-15) for piece in pieces) + b"\0")


def test_a_peer_that_compresses_with_the_least_window_of_zlib_is_understood() -> None:
    made = agreed(b"permessage-deflate; client_max_window_bits=8")
    assert made is not None
    data = os.urandom(400)
    measure(InflatedSize(100_000, made, "client"), Deflater(9)(data * 20), 7)
