"""The JSON Schema of the models: what the keys of a configuration are, in a file or in Python.

Rules of the file: the schema is generated from the models and from the `Config` of every policy and balancing algorithm
that can be imported; it repeats nothing by hand.
"""

from typing import Any, Final

from propylon.config.schema import GatewayConfig
from propylon.config.schema.route import ANSWERS
from propylon.plugins import BALANCERS, POLICIES, PluginBrokenError, Plugins

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REF: Final = "#/$defs/"
# Keys that are short for a policy.
_ACTIONS: Final = {"RouteConfig": ANSWERS, "FallbackConfig": ("respond",)}


def model_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the models."""
    schema = GatewayConfig.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    entry = definitions["PolicyEntry"]["properties"]
    policies = _settings(definitions, POLICIES, "Policy")
    for model, actions in _ACTIONS.items():
        for action in actions:
            if action in policies:
                key = definitions[model]["properties"][action]
                key.pop("type", None)
                key.update(policies[action])
    definitions["PolicyEntry"] = one_of(policies, {key: entry[key] for key in ("when", "unless")})
    definitions["BalanceEntry"] = one_of(_settings(definitions, BALANCERS, "Balancer"))
    return {"$schema": _DIALECT, "title": "Propylon gateway configuration", **schema}


def one_of(settings: dict[str, Any], beside: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of `name` or `{name: settings}`.

    Args:
        settings: the schemas of the settings by name.
        beside: the schemas of keys beside the name.
    """
    named = {
        "type": "object",
        "properties": {name: _or_nothing(each) for name, each in settings.items()} | (beside or {}),
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in settings],
    }
    return {"anyOf": [{"type": "string", "enum": list(settings)}, named]}


def _or_nothing(settings: dict[str, Any]) -> dict[str, Any]:
    """Accept no settings too, as in `- hsts:`."""
    return {"anyOf": [settings, {"type": "null"}]} if settings else settings


def _settings(definitions: dict[str, Any], plugins: Plugins, part: str) -> dict[str, Any]:
    """Add the schemas of the settings of all modules of a kind to `definitions`, and return references to them.

    Args:
        part: the class of such a module besides `Config`; the first line of its docstring is the description.
    """
    found: dict[str, Any] = {}
    for name in plugins.names():
        try:
            module = plugins.find(name)
        except PluginBrokenError:
            found[name] = {}  # an optional dependency is missing here, but may be installed where the file is used
            continue
        prefix = f"{part.lower()}.{name}"
        schema = module.Config.model_json_schema(ref_template=f"{_REF}{prefix}.{{model}}")
        for shared, definition in schema.pop("$defs", {}).items():
            definitions[f"{prefix}.{shared}"] = definition
        description = (getattr(module, part).__doc__ or "").strip().partition("\n")[0]
        definitions[prefix] = {**schema, "title": name, **({"description": description} if description else {})}
        found[name] = {"$ref": f"{_REF}{prefix}"}
    return found
