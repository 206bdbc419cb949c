"""Content codings: every one in pieces of any size, invalid and cut-off data, and what expands too much."""

from __future__ import annotations

import gzip
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http import content_coding
from propylon.http.content_coding import (
    FREE_BYTES,
    MAX_RATIO,
    PIECE_BYTES,
    CodingError,
    ContentDecoder,
    ExpandsTooMuchError,
    UnknownCodingError,
    acceptable,
    codings_of,
    supported,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = os.urandom(3000).hex().encode() * 30


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "br": ("br", lambda data: bytes(brotli.compress(data, quality=4))),
    "zstd": ("zstd", lambda data: bytes(zstd.compress(data))),
}
each = pytest.mark.parametrize("which", ENCODERS)


def decode(codings: Iterable[str], *pieces: bytes) -> bytes:
    decoder = ContentDecoder(codings)
    found = b"".join(piece for data in pieces for piece in decoder.feed(data))
    decoder.end()
    return found


def cut(data: bytes, step: int) -> Iterator[bytes]:
    return (data[at : at + step] for at in range(0, len(data), step))


@each
@pytest.mark.parametrize("step", [1, 7, 1000, 10**6])
def test_each_coding_is_decoded_however_it_is_cut(which: str, step: int) -> None:
    name, encode = ENCODERS[which]
    assert decode([name], *cut(encode(TEXT), step)) == TEXT
    assert decode([name], *cut(encode(b"hi"), step)) == b"hi"


@each
def test_an_empty_body_has_no_coding_and_an_empty_content_may_have_one(which: str) -> None:
    name, encode = ENCODERS[which]
    assert decode([name]) == b""
    assert decode([name], encode(b"")) == b""


@each
def test_data_that_is_cut_off_is_no_body(which: str) -> None:
    name, encode = ENCODERS[which]
    with pytest.raises(CodingError, match="cut off"):
        decode([name], encode(TEXT)[:-1])


@each
def test_data_that_is_not_of_the_coding_is_refused(which: str) -> None:
    name, encode = ENCODERS[which]
    for data in (b"\xff\xff\xff no such thing", encode(TEXT) + b"rest", encode(TEXT)[:100] + encode(TEXT)):
        with pytest.raises(CodingError):
            decode([name], data)


@given(st.binary(max_size=200), st.sampled_from(sorted(ENCODERS)))
def test_random_bytes_raise_nothing_else(data: bytes, which: str) -> None:
    try:
        decode([ENCODERS[which][0]], data)
    except CodingError:
        pass


def test_members_of_gzip_and_frames_of_zstd_follow_one_another() -> None:
    members = gzip.compress(b"one ") + gzip.compress(b"two")
    assert decode(["gzip"], *cut(members + bytes(20), 3)) == b"one two"
    assert decode(["zstd"], *cut(bytes(zstd.compress(b"one ")) + bytes(zstd.compress(b"two")), 3)) == b"one two"


def test_stacked_codings_are_undone_from_the_last_to_the_first() -> None:
    packed = brotli.compress(gzip.compress(zlib.compress(TEXT)))
    assert decode(codings_of(["deflate, GZIP", "identity,br"]), *cut(packed, 100)) == TEXT
    with pytest.raises(UnknownCodingError, match="5 content codings"):
        ContentDecoder(["gzip"] * 5)


def test_the_names_of_fields() -> None:
    assert codings_of([]) == codings_of(["identity", ""]) == []
    assert codings_of(["x-gzip , Br"]) == ["gzip", "br"]
    with pytest.raises(UnknownCodingError, match="'compress'"):
        ContentDecoder(["compress"])


@pytest.mark.parametrize(
    ("name", "bomb"),
    [
        ("gzip", gzip.compress(bytes(50_000_000))),
        ("deflate", raw_deflate(bytes(50_000_000))),
        ("br", brotli.compress(bytes(50_000_000), quality=4)),
        ("zstd", zstd.compress(bytes(50_000_000))),
    ],
)
def test_what_expands_too_much_is_refused_before_it_is_there(name: str, bomb: bytes) -> None:
    sizes: list[int] = []
    decoder = ContentDecoder([name])
    with pytest.raises(ExpandsTooMuchError, match=f"more than {MAX_RATIO} times"):
        sizes.extend(len(piece) for piece in decoder.feed(bomb))
    assert max(sizes) <= 2 * PIECE_BYTES
    assert sum(sizes) <= max(FREE_BYTES, MAX_RATIO * len(bomb))


def test_a_bomb_behind_honest_data_is_refused_too() -> None:
    decoder = ContentDecoder(["zstd"])
    noise = os.urandom(4_000_000)
    for data in cut(bytes(zstd.compress(noise)), 65536):
        for _ in decoder.feed(data):
            pass
    with pytest.raises(ExpandsTooMuchError):
        for _ in decoder.feed(bytes(zstd.compress(bytes(100_000_000)))):
            pass


def test_a_bomb_inside_of_a_coding_that_outputs_nothing_is_refused() -> None:
    empty = gzip.compress(b"", mtime=0) * 500_000
    begun = time.process_time()
    with pytest.raises(ExpandsTooMuchError):
        decode(["gzip", "gzip"], gzip.compress(empty))
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("which", ["gzip", "zstd"])
def test_members_that_are_next_to_empty_are_refused_before_they_take_time(which: str) -> None:
    name, encode = ENCODERS[which]
    begun = time.perf_counter()
    with pytest.raises(ExpandsTooMuchError, match="members"):
        decode([name], encode(b"") * 200_000)
    assert time.perf_counter() - begun < 0.5  # a copy of what is left after each member took minutes


@pytest.mark.parametrize("which", ["gzip", "zstd"])
def test_many_members_of_some_size_are_decoded(which: str) -> None:
    name, encode = ENCODERS[which]
    member = os.urandom(500)
    assert decode([name], encode(member) * 5000) == member * 5000
    assert decode([name], encode(b"") * 500 + encode(b"x")) == b"x"


def test_a_bomb_in_a_bomb_is_measured_as_a_whole() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    blocks = (packer.compress(bytes(20_000) + os.urandom(60)) for _ in range(2000))
    inner = b"".join(blocks) + packer.flush()  # about 200 times smaller, as its like is allowed
    data = gzip.compress(inner + bytes(20 * len(inner)))  # zero bytes may follow the last member
    pieces: list[bytes] = []
    with pytest.raises(ExpandsTooMuchError, match="gzip in gzip"):
        pieces.extend(ContentDecoder(["gzip", "gzip"]).feed(data))
    assert sum(map(len, pieces)) <= max(FREE_BYTES, MAX_RATIO * len(data))


def test_what_is_accepted_is_limited_to_what_can_be_decoded() -> None:
    assert supported() == ("gzip", "deflate", "br", "zstd")
    assert acceptable("gzip, deflate, br, zstd") == "gzip, deflate, br, zstd"
    assert acceptable("GZIP;q=0.5 , sdch, identity;q=0.1, *") == "GZIP;q=0.5, identity;q=0.1"
    assert acceptable("dcb;q=0, *;q=0") == "dcb;q=0, *;q=0"
    assert acceptable("compress") == "identity"


def test_without_the_libraries_gzip_and_deflate_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    caches = (content_coding._maker, content_coding._zstd, content_coding._errors, acceptable)
    monkeypatch.setattr(content_coding, "import_module", missing)
    for each_cache in caches:
        each_cache.cache_clear()
    try:
        assert supported() == ("gzip", "deflate")
        assert acceptable("gzip, br") == "gzip"
        with pytest.raises(UnknownCodingError):
            ContentDecoder(["br"])
        with pytest.raises(CodingError):
            decode(["gzip"], b"no gzip")
    finally:
        for each_cache in caches:
            each_cache.cache_clear()
