"""From a model to a structural schema: no references, no defaults, no titles, no nulls.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import combinations

from pydantic.json_schema import GenerateJsonSchema, PydanticJsonSchemaWarning

from controlplane.objects.crds.rules import FIELDS, RULES, TOP_LEVEL, AtMostOne, CelRule
from controlplane.objects.types.scalars import Model

Schema = dict[str, object]
_COPIED = ("description", "enum", "pattern", "required", "type", "maximum", "minimum")
_SIZES = ("maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties")
_EXACT = 2**53  # bounds are read as floating point numbers
_VALIDATIONS = "x-kubernetes-validations"
_FREE = "x-kubernetes-preserve-unknown-fields"


def schema(model: type[Model]) -> Schema:
    """Return the structural schema of ``model``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)  # of defaults, which are left out
        json_schema = model.model_json_schema(by_alias=True, schema_generator=GenerateJsonSchema)
    definitions = json_schema.get("$defs", {})
    structural = _structural(json_schema, definitions)
    _add_rules(structural, model.__name__)
    _add_rules(structural, TOP_LEVEL + model.__name__)
    return structural


def _structural(part: Mapping[str, object], definitions: Mapping[str, Mapping[str, object]]) -> Schema:
    if isinstance(reference := part.get("$ref"), str):
        name = reference.rpartition("/")[2]
        structural = _structural(definitions[name], definitions)
        _add_rules(structural, name)
        return {**structural, **_described(part)}
    if isinstance(choices := part.get("anyOf"), list):
        [only, *other_types] = [choice for choice in choices if choice.get("type") != "null"]
        if other_types:
            raise TypeError(f"a field of several types has no structural schema: {choices}")
        return {**_structural(only, definitions), **_described(part)}
    structural = _constraints(part)
    if isinstance(properties := part.get("properties"), dict):
        structural["properties"] = {name: _structural(field, definitions) for name, field in sorted(properties.items())}
    if isinstance(items := part.get("items"), dict):
        structural["items"] = _structural(items, definitions)
    if isinstance(values := part.get("additionalProperties"), dict):
        structural["additionalProperties"] = _structural(values, definitions)
    return structural


def _constraints(part: Mapping[str, object]) -> Schema:
    constraints = {name: part[name] for name in (*_COPIED, *_SIZES) if name in part}
    if isinstance(maximum := constraints.get("maximum"), int) and maximum > _EXACT:
        del constraints["maximum"]
        constraints["format"] = "int64"
    if "const" in part:
        constraints["enum"] = [part["const"]]
    for name in (_FREE, _VALIDATIONS):
        if name in part:
            constraints[name] = part[name]
    return constraints


def _described(part: Mapping[str, object]) -> Schema:
    return {"description": part["description"]} if "description" in part else {}


def _add_rules(structural: Schema, name: str) -> None:
    properties = structural.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    for field, field_schema in properties.items():
        field_schema.update(FIELDS.get((name, field), {}))
    rules = RULES.get(name, ())
    cel = [{"rule": rule.cel, "message": rule.message} for rule in rules if isinstance(rule, CelRule)]
    if cel:
        structural[_VALIDATIONS] = cel
    if exclusive := [_exclusive(rule) for rule in rules if isinstance(rule, AtMostOne)]:
        structural["allOf"] = exclusive


def _exclusive(rule: AtMostOne) -> Schema:
    return {"not": {"anyOf": [{"required": list(pair)} for pair in combinations(rule.fields, 2)]}}
