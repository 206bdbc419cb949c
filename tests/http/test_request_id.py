"""Request ids: the alphabet taken from clients, and the shape of new ones (RFC 9562)."""

import random
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.request_id import MAX_ID_BYTES, RequestIds, is_safe


class Clock:
    def __init__(self, ms: int) -> None:
        self.ms = ms

    def __call__(self) -> float:
        return (self.ms + 0.5) / 1000


@pytest.mark.parametrize(
    "value",
    [
        b"a",
        b"018f6f1e-7c3a-7b2e-9d52-3f1f6b1c9a10",
        b"01ARZ3NDEKTSV4RRFFQ69G5FAV",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"Root=1-67891233-abcdef012345678912345678",
        b"dGVzdA+/=",
        b"user@host:1/2",
        b"x" * MAX_ID_BYTES,
    ],
)
def test_an_id_of_harmless_bytes_is_kept(value: bytes) -> None:
    assert is_safe(value)


@pytest.mark.parametrize(
    "value",
    [b"", b"x" * (MAX_ID_BYTES + 1), b"a b", b"a\n", b"a\r\nx: y", b"a,b", b'a"', b"a;b", b"${jndi:x}", b"%0a",
     b"\xc3\xa9", b"<b>", b"a\x00", b"\\", b"a\t"],
)  # fmt: skip
def test_an_id_that_could_mean_something_elsewhere_is_refused(value: bytes) -> None:
    assert not is_safe(value)


@given(st.binary(max_size=140))
def test_whatever_is_safe_is_short_printable_ascii(value: bytes) -> None:
    if is_safe(value):
        assert 1 <= len(value) <= MAX_ID_BYTES
        assert all(0x21 <= byte <= 0x7E for byte in value)


@given(ms=st.integers(min_value=0, max_value=2**48 - 1), seed=st.integers())
def test_rfc9562_5_7_new_ids_are_uuid_version_7_with_the_time_in_front(ms: int, seed: int) -> None:
    made = RequestIds(Clock(ms), random.Random(seed).getrandbits)()
    parsed = uuid.UUID(made.decode())
    assert str(parsed).encode() == made
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == ms


@pytest.mark.parametrize("bit", [0, 1])
def test_the_shape_holds_at_both_ends_of_the_random_range(bit: int) -> None:
    ids = RequestIds(Clock(1), lambda n: (1 << n) - 1 if bit else 0)
    for _ in range(3):
        assert uuid.UUID(ids().decode()).version == 7


def test_rfc9562_6_2_ids_of_one_millisecond_are_different_and_grow() -> None:
    ids = RequestIds(Clock(1_700_000_000_000), random.Random(7).getrandbits)
    made = [ids() for _ in range(2_000)]
    assert made == sorted(set(made))


def test_a_clock_that_stands_still_never_overflows_the_text() -> None:
    ids = RequestIds(Clock(5), lambda n: (1 << n) - 1)
    assert {len(ids()) for _ in range(70_000)} == {36}


def test_the_random_part_is_drawn_anew_with_the_next_millisecond() -> None:
    clock = Clock(1)
    ids = RequestIds(clock, random.Random(3).getrandbits)
    first = ids()
    clock.ms = 2
    second = ids()
    assert first[14:23] != second[14:23]
    assert first < second
    assert ids()[:24] == second[:24]


def test_all_ids_are_acceptable_to_the_next_gateway() -> None:
    assert is_safe(RequestIds(Clock(1), random.Random(1).getrandbits)())
