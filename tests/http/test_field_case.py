"""Field names in capitals, for devices that compare names by case."""

from __future__ import annotations

from propylon.http.field_case import title_case


def test_names_without_capitals_get_them_and_nothing_else_changes() -> None:
    message = (
        b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\nX-mixed: a\r\nx-a-b2: content-type: x\r\netag: w\r\n"
        b"www-authenticate: b\r\nx-request-id: i\r\nfoo_bar: 1\r\n\r\nbody\r\nname: x\r\n"
    )
    assert title_case(message) == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\nX-mixed: a\r\nX-A-B2: content-type: x\r\nETag: w\r\n"
        b"WWW-Authenticate: b\r\nX-Request-ID: i\r\nfoo_bar: 1\r\n\r\nbody\r\nname: x\r\n"
    )


def test_a_head_without_fields_is_as_it_was() -> None:
    assert title_case(b"HTTP/1.1 204 No Content\r\n\r\n") == b"HTTP/1.1 204 No Content\r\n\r\n"
