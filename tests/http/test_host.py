"""Hosts: one spelling, and everything two programs could disagree about refused (security cases 19, 20, 28)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.host import HostError, parse_host


@pytest.mark.parametrize(
    ("value", "name", "port"),
    [
        (b"api.example.com", b"api.example.com", None),
        (b"API.Example.COM:8080", b"api.example.com", b"8080"),
        (b"example.com.", b"example.com", None),
        (b"example.com.:80", b"example.com", b"80"),
        (b"my_service-1", b"my_service-1", None),
        (b"h:", b"h", None),
        (b"h:00080", b"h", b"80"),
        (b"h:65535", b"h", b"65535"),
        (b"127.0.0.1:1", b"127.0.0.1", b"1"),
        (b"999.1.1.1", b"999.1.1.1", None),
        (b"[::1]:8080", b"[::1]", b"8080"),
        (b"[2001:DB8:0:0::0001]", b"[2001:db8::1]", None),
    ],
)
def test_hosts_have_one_spelling(value: bytes, name: bytes, port: bytes | None) -> None:
    assert parse_host(value) == (name, port)


@pytest.mark.parametrize(
    "value",
    [
        b"", b"a, b", b"a,b", b"a b", b" a", b"a\t", b"user@h", b"u:p@h", b"h/x", b"h?x", b"h#x", b"h\\x", b":80",
        b"h:0", b"h:65536", b"h:99999", b"h:123456", b"h:-1", b"h:8 0", b"h:80:80", b"h:+80",
        "h\u00e4".encode(), b"h\xff",
        b"a..b", b".a", b".", b"h%41", b"h;x", b"h'", b"::1", b"[::1", b"[]", b"[::1]x", b"[::1%25eth0]", b"[1.2.3.4]",
        b"[v1.x]", b"[:::]", b"h\x00", b"h\n", b"a" * 256, "h:\u0661".encode(),
    ],
)  # fmt: skip
def test_what_is_no_single_host_is_refused(value: bytes) -> None:
    with pytest.raises(HostError) as caught:
        parse_host(value)
    assert caught.value.code == "read.bad_host"
    assert "RFC" in caught.value.detail
    assert caught.value.detail.isprintable()


@given(st.binary(max_size=20) | st.text("aB1.:[]-_0%@,", max_size=20).map(str.encode))
def test_a_canonical_host_is_its_own_canonical_form(value: bytes) -> None:
    try:
        host = parse_host(value)
    except HostError:
        return
    assert parse_host(host.name + (b":" + host.port if host.port else b"")) == host
