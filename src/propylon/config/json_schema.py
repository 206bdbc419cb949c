"""The JSON Schema of configuration files, for completion and validation in editors.

It is that of the models, with what files may have besides: references to environment variables in the place of any
scalar, secrets from files, and extensions (keys that begin with `x-`).
"""

from collections.abc import Iterable
from typing import Any, Final

from propylon.config.model_schema import model_schema

_ENVIRONMENT: Final = "EnvironmentReference"
_SECRET: Final = "SecretFile"  # noqa: S105 - the name of a definition
_DEFINITIONS: Final = {
    _ENVIRONMENT: {
        "type": "string",
        "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
        "description": "Text with a reference to an environment variable: ${NAME} or ${NAME:-default}.",
    },
    _SECRET: {
        "type": "object",
        "properties": {"from_file": {"type": "string", "minLength": 1, "description": "Path of the file."}},
        "required": ["from_file"],
        "additionalProperties": False,
        "description": "The content of a file, without surrounding white space.",
    },
}
# Definitions below which values may come from files.
_WITH_SECRETS: Final = ("PolicyEntry", "BalanceEntry", "DiscoverConfig")

_SCALARS: Final = frozenset({"string", "integer", "number", "boolean"})
_CONSTRAINTS: Final = frozenset(
    {
        "type", "enum", "const", "pattern", "format", "minLength", "maxLength", "minimum", "maximum",
        "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "items", "minItems", "maxItems",
    }
)  # fmt: skip


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a configuration file."""
    schema = model_schema()
    definitions: dict[str, Any] = schema.pop("$defs")
    secret = _reachable(definitions, _WITH_SECRETS)
    found = {name: _of_file(definition, name in secret) for name, definition in definitions.items()}
    return {**_of_file(schema, False), "$defs": {**found, **_DEFINITIONS}}


def _reachable(definitions: dict[str, Any], names: Iterable[str]) -> set[str]:
    """Return the names of definitions that these refer to, at any depth, and themselves."""
    todo, found = list(names), set[str]()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _references(definitions[name])
    return found


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for each in value for name in _references(each)]
    if not isinstance(value, dict):
        return []
    here = [str(value["$ref"]).rpartition("/")[2]] if isinstance(value.get("$ref"), str) else []
    return here + [name for each in value.values() for name in _references(each)]


def _of_file(node: dict[str, Any], secret: bool) -> dict[str, Any]:
    """Return a schema with what files may have in its place, and at every place below."""
    found = _below(node, secret)
    others = _references_for(_members(node), secret)
    if not others:
        return found
    if "anyOf" in found:
        return {**found, "anyOf": [*found["anyOf"], *others]}
    constraints = {key: each for key, each in found.items() if key in _CONSTRAINTS}
    return {"anyOf": [constraints, *others], **{key: each for key, each in found.items() if key not in _CONSTRAINTS}}


def _below(node: dict[str, Any], secret: bool) -> dict[str, Any]:
    """Return a schema with what files may have at every place below it."""
    found = dict(node)
    for key in ("properties", "patternProperties"):
        if key in node:
            found[key] = {name: _of_file(each, secret) for name, each in node[key].items()}
    for key in ("additionalProperties", "items"):
        if isinstance(node.get(key), dict):
            found[key] = _of_file(node[key], secret)
    if "properties" in node and node.get("additionalProperties") is False:
        found["patternProperties"] = {"^x-": {"description": "Ignored; a place for YAML anchors."}}
    if "anyOf" in node:
        found["anyOf"] = [_below(each, secret) for each in node["anyOf"]]
    return found


def _members(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the members of a union, also of those within it; a schema that is none is its only member."""
    return [member for each in node["anyOf"] for member in _members(each)] if "anyOf" in node else [node]


def _references_for(members: list[dict[str, Any]], secret: bool) -> list[dict[str, Any]]:
    """Return what may stand for a value that has these forms, if one of them is a scalar."""
    scalars = [each for each in members if _is_scalar(each)]
    found = [{"$ref": f"#/$defs/{_SECRET}"}] if secret and scalars else []
    any_text = any(
        {key for key in each if key in _CONSTRAINTS} == {"type"} and "string" in each["type"] for each in scalars
    )
    if scalars and not any_text:
        found.append({"$ref": f"#/$defs/{_ENVIRONMENT}"})
    return found


def _is_scalar(node: dict[str, Any]) -> bool:
    kinds = node.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    return "const" in node or "enum" in node or not _SCALARS.isdisjoint(kinds)
