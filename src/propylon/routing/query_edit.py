"""Edits of the query for the service: which parameters are kept, removed, set and added.

Rules of this file: parameters that an edit does not change keep every byte and their place. Values are templates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.http import query as query_string
from propylon.routing.captures import NO_CAPTURES, Captures
from propylon.routing.rewrite import RewriteError
from propylon.routing.template import Template, TemplateError
from propylon.routing.template_places import IN_QUERY

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from propylon.routing.facts import Facts


class QueryEdit:
    """A compiled edit, in this order: keep, remove, set, add. Raises `RewriteError`.

    Parameters:
        set_values: name -> its only value.
        add_values: name -> value to append.
        remove: names to remove.
        keep: the only names that are kept; None for all.
        captures: those of the route.
    """

    __slots__ = ("_add", "_drop", "_fixed", "_keep", "_set")

    def __init__(
        self,
        set_values: Mapping[str, str],
        add_values: Mapping[str, str],
        remove: Collection[str],
        keep: Collection[str] | None = None,
        captures: Captures = NO_CAPTURES,
    ) -> None:
        for name in (*set_values, *add_values, *remove, *(keep or ())):
            if not name:
                raise RewriteError("query_edit has a parameter without a name")
            if name in remove and (name in set_values or name in add_values):
                raise RewriteError(f"query_edit removes {name!r} and gives it a value; to replace it, use only `set`")
        self._set = [(name.encode(), _template(name, value, captures)) for name, value in set_values.items()]
        self._add = [(name.encode(), _template(name, value, captures)) for name, value in add_values.items()]
        self._drop = frozenset(name.encode() for name in remove)
        self._keep = None if keep is None else frozenset(name.encode() for name in keep)
        self._fixed: tuple[dict[bytes, bytes], list[bytes]] | None = None
        if all(value.fixed is not None for _, value in (*self._set, *self._add)):
            self._fixed = self._pieces(None)

    def apply(self, query: bytes | None, request: Facts) -> bytes | None:
        """Return the query for the service; None is no '?'."""
        replace, append = self._fixed or self._pieces(request)
        kept = query if self._keep is None else query_string.only(query, self._keep)
        return query_string.edit(kept, replace, append, self._drop)

    def _pieces(self, request: Facts | None) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Return the pieces to set and to add; without a request if all values are fixed."""

        def encoded(name: bytes, value: Template) -> bytes:
            return query_string.piece(name, (value.fixed or b"") if request is None else value.fill(request))

        return {name: encoded(name, value) for name, value in self._set}, [
            encoded(name, value) for name, value in self._add
        ]


def _template(name: str, value: str, captures: Captures) -> Template:
    try:
        template = Template(value, IN_QUERY)
    except TemplateError as error:
        raise RewriteError(f"query_edit {name!r}: {error}") from None
    if (problem := template.problem(captures)) is not None:
        raise RewriteError(f"query_edit {name!r}: {problem}")
    return template
