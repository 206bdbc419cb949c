"""Edits of the query: an allow list, removal, and values that are templates."""

from __future__ import annotations

import pytest

from propylon.routing.captures import Captures
from propylon.routing.query_edit import QueryEdit
from propylon.routing.rewrite import RewriteError
from tests.support.fakes import exchange


def edited(edit: QueryEdit, query: bytes | None) -> bytes | None:
    return edit.apply(query, exchange())


def test_parameters_that_are_not_edited_keep_every_byte() -> None:
    edit = QueryEdit({"a": "1 2"}, {"b": "\u00e4"}, ["c"])
    assert edited(edit, b"x=%7E&&c=1&a=0&y=+&a") == b"x=%7E&&a=1%202&y=+&b=%C3%A4"
    assert edited(edit, None) == b"a=1%202&b=%C3%A4"
    assert edited(QueryEdit({}, {}, ["c"]), b"c") is None
    assert edited(QueryEdit({}, {}, ["c"]), b"&&d=%zz") == b"&&d=%zz"


@pytest.mark.parametrize(
    ("query", "result"),
    [
        (b"page=1&admin=1&q=a%20b", b"page=1&q=a%20b"),
        (b"%70age=2&PAGE=3", b"%70age=2"),
        (b"page", b"page"),
        (b"&&page=1&", b"page=1"),
        (b"admin=1", None),
        (b"", b""),
        (None, None),
    ],
)
def test_only_parameters_that_are_kept_are_sent(query: bytes | None, result: bytes | None) -> None:
    assert edited(QueryEdit({}, {}, (), ("page", "q")), query) == result


def test_an_empty_list_keeps_nothing_and_parameters_are_added_to_what_is_kept() -> None:
    assert edited(QueryEdit({}, {}, (), ()), b"a=1&b") is None
    assert edited(QueryEdit({"a": "2"}, {"b": "3"}, (), ()), b"a=1&c=4") == b"a=2&b=3"


def test_values_are_templates_encoded_as_one_parameter() -> None:
    x = exchange(query=b"x=1&y")
    x.path_params, x.path_rest = {"id": b"a%26b=c%2Fd"}, b"p/q"
    captures = Captures(frozenset(("id",)), rest=True)
    edit = QueryEdit({"user": "u-{id}"}, {"next": "{request.path}?{request.query}", "rest": "{*}"}, (), None, captures)
    assert edit.apply(b"user=1", x) == b"user=u-a%26b%3Dc%2Fd&next=%2Fx%3Fx%3D1%26y&rest=p%2Fq"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: QueryEdit({"a": "1"}, {}, ["a"]), "removes 'a' and gives it a value"),
        (lambda: QueryEdit({"": "1"}, {}, []), "without a name"),
        (lambda: QueryEdit({"a": "{n}"}, {}, []), "query_edit 'a': unknown parameter 'n'"),
        (lambda: QueryEdit({}, {"a": "$remote_addr"}, []), "write {client.address}"),
        (lambda: QueryEdit({}, {"a": "$1"}, []), "write {name}"),
    ],
)
def test_what_cannot_be_compiled_is_told_in_a_sentence(make: object, sentence: str) -> None:
    assert callable(make)
    with pytest.raises(RewriteError, match=sentence):
        make()
