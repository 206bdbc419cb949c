"""The JSON Schema that editors use."""

from typing import Any

from propylon.config.json_schema import json_schema


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        here = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return here.union(*(references(each) for each in value.values()))
    return set().union(*(references(each) for each in value)) if isinstance(value, list) else set()


def test_every_reference_leads_somewhere() -> None:
    schema = json_schema()
    assert {name.removeprefix("#/$defs/") for name in references(schema)} <= set(schema["$defs"])


def test_every_key_is_described() -> None:
    schema = json_schema()
    models = [schema, *(part for name, part in schema["$defs"].items() if "." not in name and name != "PolicyEntry")]
    parts = [(key, part) for model in models for key, part in model.get("properties", {}).items()]
    # A key whose description is that of its model has it there.
    assert [key for key, part in parts if "description" not in part and "$ref" not in part] == []
    assert [
        name
        for name, part in schema["$defs"].items()
        if "." not in name and "anyOf" not in part and "description" not in part
    ] == []


def test_policies_have_the_keys_of_their_settings() -> None:
    names, named = json_schema()["$defs"]["PolicyEntry"]["anyOf"]
    assert "colour" in names["enum"]
    assert named["properties"]["colour"]["properties"]["shade"]["enum"] == ["light", "dark"]
    assert named["properties"]["colour"]["description"] == "Colours."
    assert "when" in named["properties"]


def test_balancing_algorithms_have_the_keys_of_their_settings() -> None:
    names, named = json_schema()["$defs"]["BalanceEntry"]["anyOf"]
    assert {"p2c", "consistent_hash"} <= set(names["enum"]) == set(named["properties"])
    assert named["properties"]["least_requests"]["properties"]["choices"]["maximum"] == 16
    assert named["properties"]["random"]["description"] == "Weighted random choice."
    assert {"type": ["string"]} in named["properties"]["python"]["anyOf"]
    assert named["maxProperties"] == 1


def test_unknown_keys_are_wrong_in_the_schema_too() -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["RouteConfig"]["additionalProperties"] is False


def test_short_forms_are_allowed() -> None:
    schema = json_schema()
    assert {"type": "string"} in schema["properties"]["listen"]["anyOf"]
    one, several = schema["$defs"]["ServiceConfig"]["properties"]["endpoints"]["anyOf"]
    assert one["type"] == "string"
    assert one in several["items"]["anyOf"]
