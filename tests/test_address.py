"""Addresses of endpoints and listeners: what is accepted, what it means, and what the refusals say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.address import AddressError, EndpointAddress, ListenAddress


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "authority", "base", "is_ip"),
    [
        ("http://127.0.0.1:3000", "http", "127.0.0.1", 3000, b"127.0.0.1:3000", b"", True),
        ("http://Users.Example", "http", "users.example", 80, b"users.example", b"", False),
        ("http://users.example:80/", "http", "users.example", 80, b"users.example", b"", False),
        ("https://users.example", "https", "users.example", 443, b"users.example", b"", False),
        ("https://users.example:443", "https", "users.example", 443, b"users.example", b"", False),
        ("https://users.example:80", "https", "users.example", 80, b"users.example:80", b"", False),
        ("HTTP://a:1/Api/v1/", "http", "a", 1, b"a:1", b"/Api/v1", False),
        ("http://a//x/%7euser", "http", "a", 80, b"a", b"/x/~user", False),
        ("http://[::1]:8080/x", "http", "::1", 8080, b"[::1]:8080", b"/x", True),
        ("http://[2001:DB8:0::1]", "http", "2001:db8::1", 80, b"[2001:db8::1]", b"", True),
        ("http://my_service.default.svc.cluster.local.", "http", "my_service.default.svc.cluster.local", 80,
         b"my_service.default.svc.cluster.local", b"", False),
        ("http://1a.example", "http", "1a.example", 80, b"1a.example", b"", False),
    ],
)  # fmt: skip
def test_an_http_address_is_taken_apart(
    url: str, scheme: str, host: str, port: int, authority: bytes, base: bytes, is_ip: bool
) -> None:
    assert EndpointAddress.parse(url) == EndpointAddress(scheme, host, port, None, base, authority, is_ip)


@pytest.mark.parametrize(
    ("url", "path", "base"),
    [
        ("unix:/run/app.sock", "/run/app.sock", b""),
        ("unix:/run/app.sock:/api/", "/run/app.sock", b"/api"),
        ("UNIX:/run/app.sock:/", "/run/app.sock", b""),
    ],
)
def test_a_unix_socket_is_taken_apart(url: str, path: str, base: bytes) -> None:
    assert EndpointAddress.parse(url) == EndpointAddress("http", "", 0, path, base, b"localhost", False)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://user:pw@a", "user name"),
        ("http://a?x=1", "query"),
        ("http://a/?", "query"),
        ("http://a/#x", "fragment"),
        ("http://", "no host"),
        ("http:///x", "no host"),
        ("http://:80", "no host"),
        ("http://a:0", "1 to 65535"),
        ("http://a:65536", "1 to 65535"),
        ("http://a:x", "1 to 65535"),
        ("http://a:-1", "1 to 65535"),
        ("http://[::1", "IPv6"),
        ("http://[fe80::1%25eth0]", "IPv6"),
        ("http://::1", "in brackets"),
        ("http://127.1", "ends in a number"),
        ("http://0x7f.0.0.1", "ends in a number"),
        ("http://2130706433", "ends in a number"),
        ("http://127.0.0.256", "ends in a number"),
        ("http://a b", "space"),
        ("http://a\r\nx", "control"),
        ("http://münchen.example", "punycode"),
        ("http://a..b", "empty label"),
        ("http://a/../b", "dot segment"),
        ("http://a/%2e%2e/b", "dot segment"),
        ("http://a/%zz", "http://a/%zz"),
        ("http:a", "lacks '//'"),
        ("ftp://a", "'ftp', which is not known"),
        ("tcp://a:1", "write http://"),
        ("ws://a:1/x", "write http://a:1/x"),
        ("wss://a", "write https://a"),
        ("localhost:3000", "no scheme"),
        ("127.0.0.1:3000", "no scheme"),
        ("", "no scheme"),
        ("//a", "no scheme"),
        ("unix:run/app.sock", "absolute path"),
        ("unix:///run/app.sock", "absolute path"),
        ("unix:", "absolute path"),
        ("unix:/run/", "absolute path"),
        ("unix:/run/a:b", "base path"),
        ("unix:/" + "x" * 107, "at most 107 bytes"),
    ],
)
def test_what_is_ambiguous_or_wrong_is_refused_with_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(AddressError) as caught:
        EndpointAddress.parse(url)
    assert sentence in str(caught.value)
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://a", "https://a:8443/base", "http://[::1]:1/x", "unix:/a.sock", "unix:/a.sock:/b", "https://1.2.3.4"]
)
def test_an_address_shows_as_it_is_written(url: str) -> None:
    assert str(EndpointAddress.parse(url)) == url


@given(st.text(max_size=30).flatmap(lambda rest: st.sampled_from([f"http://{rest}", f"unix:{rest}", rest])))
def test_any_text_is_an_address_or_an_address_error(url: str) -> None:
    try:
        address = EndpointAddress.parse(url)
    except AddressError:
        return
    assert EndpointAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ListenAddress("127.0.0.1", 8080)),
        ("[::1]:8080", ListenAddress("::1", 8080)),
        ("[fe80::1%eth0]:80", ListenAddress("fe80::1%eth0", 80)),
        (":8080", ListenAddress("", 8080)),
        ("localhost:0", ListenAddress("localhost", 0)),
        ("unix:/run/p.sock", ListenAddress("", 0, "/run/p.sock")),
    ],
)
def test_an_address_to_listen_at_shows_as_it_is_written(text: str, address: ListenAddress) -> None:
    assert ListenAddress.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("8080", "write 127.0.0.1:8080"),
        ("", "write 127.0.0.1:8080"),
        ("127.0.0.1", "write 127.0.0.1:8080"),
        ("::1:8080", "write 127.0.0.1:8080"),
        ("http://127.0.0.1:8080", "write 127.0.0.1:8080"),
        ("127.0.0.1:http", "write 127.0.0.1:8080"),
        ("a b:80", "write 127.0.0.1:8080"),
        (":٨٠", "write 127.0.0.1:8080"),
        (":65536", "from 0 to 65535"),
        ("unix:run/p.sock", "absolute path"),
        ("unix:", "absolute path"),
        ("unix:/run/", "absolute path"),
        ("unix:/" + "x" * 107, "at most 107 bytes"),
        ("unix:/" + "é" * 60, "at most 107 bytes"),
    ],
)
def test_what_is_no_address_to_listen_at_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(AddressError) as caught:
        ListenAddress.parse(text)
    assert sentence in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_an_address_to_listen_at_or_an_error(text: str) -> None:
    try:
        address = ListenAddress.parse(text)
    except AddressError:
        return
    assert ListenAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    ("url", "is_name"),
    [
        ("http://users.internal", True),
        ("https://users", True),
        ("http://notlocalhost:80", True),
        ("http://localhost:80", False),
        ("http://api.localhost", False),
        ("http://127.0.0.1", False),
        ("http://[::1]", False),
        ("unix:/run/users.sock", False),
    ],
)
def test_names_are_those_whose_addresses_may_change(url: str, is_name: bool) -> None:
    assert EndpointAddress.parse(url).is_name is is_name
