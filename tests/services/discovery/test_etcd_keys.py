"""Keys of etcd as endpoints: ranges of prefixes, values, and the messages of a watch."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.services.discovery import DiscoveryError, EndpointSpec
from propylon.services.discovery._etcd_keys import MAX_KEYS, Keys, parse_value, prefix_end

BYTES = st.binary(max_size=3) | st.lists(st.sampled_from([b"\xfe", b"\xff", b"a"]), max_size=4).map(b"".join)


@given(BYTES.filter(bool), BYTES)
def test_a_range_has_exactly_the_keys_with_the_prefix(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)
    in_range = prefix <= key and (end == b"\0" or key < end)
    assert in_range == key.startswith(prefix)


@pytest.mark.parametrize(
    ("prefix", "end"), [(b"/a/", b"/a0"), (b"a\xff", b"b"), (b"\xfe\xff", b"\xff"), (b"\xff", b"\0")]
)
def test_the_end_of_a_range(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"http://a:80", EndpointSpec("http://a:80")),
        (b" http://a:80\n", EndpointSpec("http://a:80")),
        (b'{"url": "http://a"}', EndpointSpec("http://a")),
        (b'{"url": "http://a", "weight": 0, "priority": 2, "zone": "z"}', EndpointSpec("http://a", 0, 2, "z")),
    ],
)
def test_a_value_is_a_url_or_json(value: bytes, found: EndpointSpec) -> None:
    assert parse_value(value) == found


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"\xff", "write a URL"),
        (b"{", "is no JSON"),
        (b"{}", "has no url"),
        (b'{"url": "http://a", "Weight": 2}', "unknown key 'Weight'"),
    ],
)
def test_another_value_is_refused_with_a_way_out(value: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_value(value)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def pair(key: str, revision: int, value: str | None = None) -> dict[str, str]:
    made = {"key": encoded(key), "mod_revision": str(revision)}
    return made if value is None else {**made, "value": encoded(value)}


def answer(*pairs: dict[str, str], revision: int = 9, **more: Any) -> dict[str, Any]:
    return {"header": {"revision": str(revision)}, "kvs": list(pairs), "count": str(len(pairs)), **more}


def event(key: str, revision: int, value: str | None = None) -> dict[str, Any]:
    return {"kv": pair(key, revision, value)} | ({} if value is not None else {"type": "DELETE"})


EVENTS = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from(["http://1", "http://2"])), max_size=8)


@given(EVENTS, st.integers(0, 8))
def test_a_watch_leads_where_the_store_is_however_much_was_read_before(
    writes: list[tuple[str, str | None]], read: int
) -> None:
    store: dict[str, tuple[int, str]] = {}
    for revision, (key, value) in enumerate(writes[:read], 1):
        if value is None:
            store.pop(key, None)
        else:
            store[key] = (revision, value)
    keys = Keys()
    keys.replace(answer(*(pair(key, *entry) for key, entry in store.items()), revision=len(writes[:read])))
    for revision, (key, value) in enumerate(writes[read:], len(writes[:read]) + 1):
        assert keys.apply({"header": {"revision": "99"}, "events": [event(key, revision, value)]})
        assert keys.revision == revision
        if value is None:
            store.pop(key, None)
        else:
            store[key] = (revision, value)
    assert [found.url for found in keys.found()] == [value for _, (_, value) in sorted(store.items())]


def test_progress_moves_the_revision_and_the_beginning_of_a_watch_does_not() -> None:
    keys = Keys()
    keys.replace(answer(revision=5))
    assert not keys.apply({"header": {"revision": "8"}, "created": True})
    assert keys.revision == 5
    assert not keys.apply({"header": {"revision": "7"}})
    assert keys.revision == 7


def test_more_keys_than_make_sense_are_refused() -> None:
    with pytest.raises(DiscoveryError, match="more than 10000 keys"):
        Keys().replace({**answer(), "count": str(MAX_KEYS + 1)})
    with pytest.raises(DiscoveryError, match="more than 10000 keys"):
        Keys().replace(answer(more=True))
    keys = Keys()
    keys.replace(answer())
    with pytest.raises(DiscoveryError, match="more than 10000 keys"):
        keys.apply({"events": [event(str(number), 10, "http://a") for number in range(MAX_KEYS + 1)]})
