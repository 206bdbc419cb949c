"""From whom a field is taken: the table, and how names are compared."""

from __future__ import annotations

import pytest

from propylon.http.claims import ANYONE, CLAIMS, NEVER_TAKEN, NOBODY, RESTATED, TRUSTED, Names, taken_from

ORDINARY = (
    b"host", b"authorization", b"cookie", b"user-agent", b"x-request-id", b"accept", b"origin", b"referer",
    b"x-api-key", b"x-requested-with", b"x-csrf-token", b"traceparent", b"content-type", b"cf-ray", b"x-user",
    b"x-forwarde", b"x-forward", b"sec-fetch-site", b"dnt", b"x-clients", b"ssl-clien",
)  # fmt: skip


@pytest.mark.parametrize("name", ORDINARY)
def test_what_services_need_is_taken_from_anyone(name: bytes) -> None:
    assert taken_from(name) == ANYONE


def test_no_field_is_in_two_parts_of_the_table() -> None:
    names = (*RESTATED, *NEVER_TAKEN, *CLAIMS)
    assert len(names) == len(set(names))
    assert all(name == name.lower() for name in names)


@pytest.mark.parametrize("spelling", [b"x-forwarded-user", b"x_forwarded_user", b"x.forwarded-user", b"x-forwarded-zz"])
def test_spellings_that_cgi_does_not_tell_apart_are_one(spelling: bytes) -> None:
    assert taken_from(spelling) == TRUSTED


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"x_forwarded_for", b"forwarded", b"via", b"proxy"])
def test_what_the_gateway_says_itself_is_taken_from_nobody(name: bytes) -> None:
    assert taken_from(name) == NOBODY


def test_the_configuration_adds_names_and_beginnings() -> None:
    further = Names(["X-User-Id", "x-acme-*"])
    assert [taken_from(name, further) for name in (b"x-user-id", b"x_user_id", b"x-acme-role", b"x-acm")] == [
        TRUSTED, TRUSTED, TRUSTED, ANYONE,
    ]  # fmt: skip
