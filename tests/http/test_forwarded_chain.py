"""Chains of proxies, in X-Forwarded-For and Forwarded (RFC 7239)."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.forwarded_chain import MAX_HOPS, read_chain
from propylon.http.trusted_proxies import TrustedProxies

TRUSTED = TrustedProxies(["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.9"])
PROXY = b"10.0.0.1"


def client_of(peer: bytes, x_forwarded_for: list[bytes], forwarded: list[bytes]) -> bytes:
    """The client of a request with these lines of headers, whose peer is `peer`."""
    return read_chain(peer, x_forwarded_for, forwarded, TRUSTED).addresses[0]


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        pytest.param(b"203.0.113.5", [b"1.2.3.4"], b"203.0.113.5", id="case 42: untrusted peer"),
        pytest.param(PROXY, [], PROXY, id="nothing said"),
        pytest.param(PROXY, [b"1.2.3.4"], b"1.2.3.4", id="one hop"),
        pytest.param(PROXY, [b"6.6.6.6, 1.2.3.4"], b"1.2.3.4", id="case 42: counted from the right"),
        pytest.param(PROXY, [b"6.6.6.6, 1.2.3.4, 10.9.9.9"], b"1.2.3.4", id="two trusted proxies"),
        pytest.param(PROXY, [b"6.6.6.6", b"1.2.3.4,10.9.9.9"], b"1.2.3.4", id="several lines"),
        pytest.param(PROXY, [b"10.2.2.2, 10.9.9.9"], b"10.2.2.2", id="all trusted: the leftmost"),
        pytest.param(PROXY, [b"1.2.3.4, , ,"], b"1.2.3.4", id="empty members"),
        pytest.param(PROXY, [b"1.2.3.4:5555"], b"1.2.3.4", id="IPv4 with port"),
        pytest.param(PROXY, [b"[2001:DB8::1]:443"], b"2001:db8::1", id="IPv6 with port"),
        pytest.param(PROXY, [b"[2001:db8::1]"], b"2001:db8::1", id="IPv6 in brackets"),
        pytest.param(PROXY, [b"2001:0db8::1"], b"2001:db8::1", id="IPv6 bare"),
        pytest.param(PROXY, [b"::ffff:1.2.3.4"], b"1.2.3.4", id="IPv4-mapped"),
        pytest.param(PROXY, [b"1.2.3.4, unknown"], PROXY, id="unknown stops"),
        pytest.param(PROXY, [b"1.2.3.4, _hidden"], PROXY, id="obfuscated stops"),
        pytest.param(PROXY, [b"1.2.3.4, <script>, 10.9.9.9"], b"10.9.9.9", id="garbage stops: last good"),
        pytest.param(PROXY, [b"1.2.3.4, unix"], PROXY, id="unix is no entry"),
        pytest.param(PROXY, [b"1.2.3.4, 10.0.0.300"], PROXY, id="bad IPv4 stops"),
        pytest.param(b"::ffff:10.0.0.1", [b"1.2.3.4"], b"1.2.3.4", id="IPv4-mapped peer"),
    ],
)
def test_the_client_is_the_last_hop_that_trusted_proxies_vouch_for(
    peer: bytes, chain: list[bytes], client: bytes
) -> None:
    assert client_of(peer, chain, []) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        pytest.param([b"for=1.2.3.4"], b"1.2.3.4", id="7239 4: token"),
        pytest.param([b"For=1.2.3.4;Proto=https;by=10.0.0.1"], b"1.2.3.4", id="7239 4: names in any case"),
        pytest.param([b'for="[2001:db8:cafe::17]:4711"'], b"2001:db8:cafe::17", id="7239 6: IPv6 quoted with port"),
        pytest.param([b'for="1.2.3.4:99"'], b"1.2.3.4", id="7239 6: port"),
        pytest.param([b"for=6.6.6.6, for=1.2.3.4, for=10.9.9.9"], b"1.2.3.4", id="from the right"),
        pytest.param([b"for=6.6.6.6", b"for=1.2.3.4, for=10.9.9.9"], b"1.2.3.4", id="several lines"),
        pytest.param([b'for=1.2.3.4;host="a,for=6.6.6.6"'], b"1.2.3.4", id="a comma in quotes is no separator"),
        pytest.param([b'for="\\1.2.3.4"'], b"1.2.3.4", id="quoted pair"),
        pytest.param([b";;for=1.2.3.4;, ,"], b"1.2.3.4", id="empty pairs and members"),
        pytest.param([b"for=unknown"], PROXY, id="unknown"),
        pytest.param([b"for=_x"], PROXY, id="obfuscated"),
        pytest.param([b"proto=https"], PROXY, id="no for"),
        pytest.param([b"for=1.2.3.4, proto=https"], PROXY, id="nearest element has no for"),
        pytest.param([b"for=1.2.3.4;for=6.6.6.6"], PROXY, id="7239 4: a parameter twice"),
        pytest.param([b'for="1.2.3.4'], PROXY, id="open quote"),
        pytest.param([b"for=[::1]"], PROXY, id="IPv6 not quoted"),
        pytest.param([b"for = 1.2.3.4"], PROXY, id="spaces around ="),
        pytest.param([b"1.2.3.4"], PROXY, id="no pair"),
        pytest.param([b"for=6.6.6.6", b"???", b"for=10.9.9.9"], b"10.9.9.9", id="a broken line ends the walk"),
    ],
)
def test_rfc7239_forwarded_is_read_where_there_is_no_x_forwarded_for(forwarded: list[bytes], client: bytes) -> None:
    assert client_of(PROXY, [], forwarded) == client


def test_case_42_forwarded_of_the_client_does_not_beat_x_forwarded_for_of_the_proxy() -> None:
    assert client_of(PROXY, [b"1.2.3.4"], [b"for=6.6.6.6"]) == b"1.2.3.4"


def test_a_long_chain_is_read_up_to_its_bound() -> None:
    chain = [b"1.2.3.4, " + b", ".join([b"10.0.0.2"] * 500)]
    assert client_of(PROXY, chain, []) == b"10.0.0.2"
    assert len(read_chain(PROXY, chain, [], TRUSTED).addresses) == MAX_HOPS + 1  # and the peer


@given(st.lists(st.binary(max_size=60), max_size=4), st.lists(st.binary(max_size=60), max_size=4))
def test_the_client_is_always_a_canonical_address(chain: list[bytes], forwarded: list[bytes]) -> None:
    client = client_of(PROXY, chain, forwarded)
    assert str(ipaddress.ip_address(client.decode())).encode() == client


@given(st.lists(st.text(alphabet='for=;,"\\1.[]: \t_x', max_size=40), min_size=1, max_size=3))
def test_forwarded_made_of_its_own_special_characters_never_breaks_the_reader(values: list[str]) -> None:
    client = client_of(PROXY, [], [value.encode() for value in values])
    ipaddress.ip_address(client.decode())
