"""Which peers and entries of a chain are trusted proxies, and the one form of an address."""

import pytest

from propylon.http.trusted_proxies import MAX_CACHED, UNIX_PEER, TrustedProxies

TRUSTED = TrustedProxies(["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.9"])


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        (b"10.1.2.3", True),
        (b"11.1.2.3", False),
        (b"192.0.2.9", True),
        (b"192.0.2.10", False),
        (b"2001:db8:1::7", True),
        (b"2001:DB8:1:0::7", True),
        (b"2001:db8:2::7", False),
        (b"::ffff:10.1.2.3", True),
        (b"[2001:db8:1::7]:443", True),
        (b"10.1.2.3:443", True),
        (b"", False),
        (b"010.1.2.3", False),
        (b"10.1.2", False),
        (b"10.1.2.3.4", False),
        (b"10.1.2.3 ", False),
        (b"\xd9\xa1.1.2.3", False),
        (b"10.0.0.0/8", False),
        (b"unix", False),
    ],
)
def test_trusted_proxies_are_told_by_their_network(ip: bytes, expected: bool) -> None:
    assert TRUSTED.contains(ip) is expected
    assert TRUSTED.contains(ip) is expected


def test_a_zone_does_not_hide_a_link_local_proxy() -> None:
    assert TrustedProxies(["fe80::/10"]).contains(b"fe80::1%eth0")


def test_the_word_unix_trusts_the_peers_of_unix_sockets() -> None:
    assert TrustedProxies(["unix"]).contains(UNIX_PEER)


@pytest.mark.parametrize("cidr", ["10.0.0.1/8", "example.org", "", "10.0.0.0/33"])
def test_a_network_that_is_none_is_refused(cidr: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        TrustedProxies([cidr])


def test_what_is_remembered_about_entries_is_bounded() -> None:
    trusted = TrustedProxies(["10.0.0.0/8"])
    for number in range(MAX_CACHED + 10):
        trusted.contains(b"garbage %d" % number)
    assert len(trusted._hops) <= MAX_CACHED


@pytest.mark.parametrize(
    ("peer", "canonical"),
    [
        (b"::ffff:10.1.2.3", b"10.1.2.3"),
        (b"2001:DB8:0::1", b"2001:db8::1"),
        (b"fe80::1%eth0", b"fe80::1"),
        (UNIX_PEER, UNIX_PEER),
        (b"testclient", b"testclient"),
    ],
)
def test_an_address_has_one_form(peer: bytes, canonical: bytes) -> None:
    assert TRUSTED.canonical(peer) == canonical
