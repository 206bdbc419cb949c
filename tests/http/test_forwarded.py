"""Who the client is and what services are told: X-Forwarded-*, Forwarded (RFC 7239), Via; security case 42."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.forwarded import ForwardingRules, Origin, direct_origin, origin, via_loops
from propylon.http.trusted_proxies import UNIX_PEER, TrustedProxies

TRUSTED = TrustedProxies(["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.9"])
PROXY = b"10.0.0.1"


def rules(
    x_forwarded: bool = True, standard: bool = False, via: bytes | None = None, trusted: TrustedProxies = TRUSTED
) -> ForwardingRules:
    return ForwardingRules(x_forwarded=x_forwarded, standard=standard, via=via, trusted=trusted)


def asked(given_rules: ForwardingRules, peer: bytes, **headers: str) -> Origin:
    """The origin of a request for http://gate.example:8080, with these headers (`_` stands for `-`)."""
    values = {name.replace("_", "-").encode(): [value.encode()] for name, value in headers.items()}
    return origin(given_rules, peer, b"http", b"gate.example:8080", b"8080", lambda name: values.get(name, []))


def lines(block: bytes) -> dict[bytes, bytes]:
    assert block == b"" or block.endswith(b"\r\n")
    pairs = [line.split(b": ", 1) for line in block.split(b"\r\n")[:-1]]
    found = {name: value for name, value in pairs}  # noqa: C416
    assert len(found) == len(pairs), "a name stands twice"
    return found


@given(
    peer=st.sampled_from([PROXY, b"203.0.113.5", b"2001:db8::5"]),
    sent=st.dictionaries(
        st.sampled_from(["x_forwarded_for", "x_forwarded_proto", "x_forwarded_host", "x_forwarded_port", "forwarded"]),
        st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40),
    ),
)
def test_whatever_a_peer_sends_the_block_is_well_formed(peer: bytes, sent: dict[str, str]) -> None:
    found = lines(asked(rules(standard=True, via=b"gate"), peer, **sent).block)
    assert set(found) == {
        b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"forwarded", b"via",
    }  # fmt: skip
    for entry in found[b"x-forwarded-for"].split(b", "):
        ipaddress.ip_address(entry.decode())
    assert found[b"x-forwarded-proto"] in {b"http", b"https"}
    assert 0 < int(found[b"x-forwarded-port"]) < 65536


def test_case_42_an_untrusted_peer_is_told_about_and_not_listened_to() -> None:
    found = asked(
        rules(standard=True),
        b"203.0.113.5",
        x_forwarded_for="10.0.0.1",
        x_forwarded_proto="https",
        x_forwarded_host="bank.example",
        x_forwarded_port="443",
        forwarded="for=10.0.0.1;host=bank.example",
    )
    assert (found.client, found.scheme, found.host) == (b"203.0.113.5", b"http", b"gate.example:8080")
    assert found.block == (
        b"x-forwarded-for: 203.0.113.5\r\n"
        b"x-forwarded-proto: http\r\n"
        b"x-forwarded-port: 8080\r\n"
        b"x-forwarded-host: gate.example:8080\r\n"
        b'forwarded: for=203.0.113.5;proto=http;host="gate.example:8080"\r\n'
    )


def test_a_trusted_peer_is_believed_and_appended() -> None:
    found = asked(
        rules(standard=True),
        PROXY,
        x_forwarded_for="6.6.6.6, 1.2.3.4, 10.9.9.9",
        x_forwarded_proto="HTTPS",
        x_forwarded_host="Shop.example",
        x_forwarded_port="8443",
    )
    assert (found.client, found.scheme, found.host) == (b"1.2.3.4", b"https", b"shop.example")
    assert found.block == (
        b"x-forwarded-for: 1.2.3.4, 10.9.9.9, 10.0.0.1\r\n"
        b"x-forwarded-proto: https\r\n"
        b"x-forwarded-port: 8443\r\n"
        b"x-forwarded-host: shop.example\r\n"
        b"forwarded: for=1.2.3.4;proto=https;host=shop.example, for=10.9.9.9, for=10.0.0.1\r\n"
    )


def test_forwarded_of_a_trusted_peer_is_translated_for_services_that_read_x_forwarded() -> None:
    found = asked(rules(), PROXY, forwarded='for=1.2.3.4;proto=https;host="shop.example:444", for=10.9.9.9;proto=http')
    assert lines(found.block) == {
        b"x-forwarded-for": b"1.2.3.4, 10.9.9.9, 10.0.0.1",
        b"x-forwarded-proto": b"https",
        b"x-forwarded-host": b"shop.example:444",
        b"x-forwarded-port": b"444",
    }


@pytest.mark.parametrize(
    ("sent", "scheme", "host", "port"),
    [
        pytest.param({}, b"http", b"gate.example:8080", b"8080", id="nothing said: our own"),
        pytest.param({"x_forwarded_proto": "https"}, b"https", b"gate.example:8080", b"8080", id="port of our host"),
        pytest.param({"x_forwarded_proto": "http, https"}, b"https", b"gate.example:8080", b"8080", id="rightmost"),
        pytest.param({"x_forwarded_proto": "wss"}, b"https", b"gate.example:8080", b"8080", id="wss is https"),
        pytest.param({"x_forwarded_proto": "gopher"}, b"http", b"gate.example:8080", b"8080", id="bad scheme"),
        pytest.param({"x_forwarded_host": "a.example"}, b"http", b"a.example", b"80", id="default port"),
        pytest.param({"x_forwarded_host": "a.example:81"}, b"http", b"a.example:81", b"81", id="port of their host"),
        pytest.param(
            {"x_forwarded_host": "a.example", "x_forwarded_proto": "https"},
            b"https",
            b"a.example",
            b"443",
            id="https default",
        ),
        pytest.param({"x_forwarded_host": "[2001:DB8::1]"}, b"http", b"[2001:db8::1]", b"80", id="IPv6 host"),
        pytest.param({"x_forwarded_host": 'a"b'}, b"http", b"gate.example:8080", b"8080", id="bad host"),
        pytest.param({"x_forwarded_host": "a:70000"}, b"http", b"gate.example:8080", b"8080", id="bad host port"),
        pytest.param({"x_forwarded_port": "99"}, b"http", b"gate.example:8080", b"99", id="port kept"),
        pytest.param({"x_forwarded_port": "0x50"}, b"http", b"gate.example:8080", b"8080", id="bad port"),
        pytest.param({"x_forwarded_port": "70000"}, b"http", b"gate.example:8080", b"8080", id="port too big"),
    ],
)
def test_a_trusted_peer_says_scheme_host_and_port(
    sent: dict[str, str], scheme: bytes, host: bytes, port: bytes
) -> None:
    found = asked(rules(), PROXY, **sent)
    assert (found.scheme, found.host) == (scheme, host)
    assert lines(found.block)[b"x-forwarded-port"] == port


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        pytest.param(b"203.0.113.5", b"for=203.0.113.5;", id="IPv4"),
        pytest.param(b"2001:db8::5", b'for="[2001:db8::5]";', id="IPv6 in brackets and quotes"),
        pytest.param(b"unix", b"for=unknown;", id="no address"),
    ],
)
def test_rfc7239_6_nodes_are_quoted_as_they_must_be(peer: bytes, expected: bytes) -> None:
    block = direct_origin(rules(False, True), peer, b"https", b"h", b"443").block
    assert block == b"forwarded: " + expected + b"proto=https;host=h\r\n"


def test_a_unix_peer_shows_as_unknown_in_x_forwarded_for() -> None:
    assert lines(direct_origin(rules(), UNIX_PEER, b"http", b"h", b"80").block)[b"x-forwarded-for"] == b"unknown"


def test_a_request_without_a_host_gets_no_empty_host_lines() -> None:
    found = origin(
        rules(standard=True),
        PROXY,
        b"http",
        b"",
        b"8080",
        lambda name: [b"https"] if name == b"x-forwarded-proto" else [],
    )
    assert found.block == (
        b"x-forwarded-for: 10.0.0.1\r\nx-forwarded-proto: https\r\nx-forwarded-port: 443\r\n"
        b"forwarded: for=10.0.0.1;proto=https\r\n"
    )


def test_headers_that_are_switched_off_are_not_sent() -> None:
    assert asked(rules(x_forwarded=False), PROXY, x_forwarded_for="1.2.3.4", via="").block == b""


@pytest.mark.parametrize("peer", [PROXY, b"203.0.113.5"])
@pytest.mark.parametrize(
    ("name", "sent", "expected"),
    [
        pytest.param(b"gate", None, b"1.1 gate", id="9110 7.6.3: first"),
        pytest.param(b"gate", "1.0 fred, 1.1 p (x)", b"1.0 fred, 1.1 p (x), 1.1 gate", id="9110 7.6.3: appended"),
        pytest.param(None, "1.0 fred", b"1.0 fred", id="ours off, theirs kept"),
        pytest.param(None, None, None, id="none"),
    ],
)
def test_via_is_kept_and_appended(peer: bytes, name: bytes | None, sent: str | None, expected: bytes | None) -> None:
    headers = {} if sent is None else {"via": sent}
    assert lines(asked(rules(via=name), peer, **headers).block).get(b"via") == expected


@pytest.mark.parametrize("name", [b"", b"a b", b"a,b", b"a\r\nx: y", b"caf\xc3\xa9"])
def test_a_pseudonym_that_is_no_token_is_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="token"):
        rules(via=name)


@pytest.mark.parametrize(
    ("values", "loops"),
    [
        ([], False),
        ([b"1.1 other"], False),
        ([b"1.1 gate"], True),
        ([b"1.1 GATE"], True),
        ([b"1.0 fred, HTTP/1.1 gate (propylon)", b"1.1 x"], True),
        ([b"1.1 x", b"1.1 y,1.1 gate"], True),
        ([b"1.1 gateway"], False),
        ([b"1.1 x (gate)"], False),
        ([b"gate"], False),
    ],
)
def test_a_request_that_comes_round_is_seen_by_its_via(values: list[bytes], loops: bool) -> None:
    assert via_loops(values, b"gate") is loops


def test_the_origin_of_an_untrusted_peer_depends_on_the_connection_only() -> None:
    full = asked(rules(via=b"gate"), b"203.0.113.5", x_forwarded_for="1.1.1.1", forwarded="for=1.1.1.1")
    direct = direct_origin(rules(via=b"gate"), b"203.0.113.5", b"http", b"gate.example:8080", b"8080")
    assert (full.client, full.scheme, full.host, full.block) == (
        direct.client, direct.scheme, direct.host, direct.block,
    )  # fmt: skip
