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
_KEPT = ("description", "enum", "pattern", "required", "type", "maximum", "minimum")
_SIZES = ("maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties")
_EXACT = 2**53  # bounds are read as floating point numbers
_VALIDATIONS = "x-kubernetes-validations"
_FREE = "x-kubernetes-preserve-unknown-fields"


def schema(model: type[Model]) -> Schema:
    """Return the structural schema of ``model``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)  # of defaults, which are left out
        whole = model.model_json_schema(by_alias=True, schema_generator=GenerateJsonSchema)
    definitions = whole.get("$defs", {})
    made = _structural(whole, definitions)
    _add_rules(made, model.__name__)
    _add_rules(made, TOP_LEVEL + model.__name__)
    return made


def _structural(part: Mapping[str, object], definitions: Mapping[str, Mapping[str, object]]) -> Schema:
    if isinstance(reference := part.get("$ref"), str):
        name = reference.rpartition("/")[2]
        made = _structural(definitions[name], definitions)
        _add_rules(made, name)
        return {**made, **_described(part)}
    if isinstance(choices := part.get("anyOf"), list):
        [one, *others] = [each for each in choices if each.get("type") != "null"]
        if others:
            raise TypeError(f"a field of several types has no structural schema: {choices}")
        return {**_structural(one, definitions), **_described(part)}
    made = _kept(part)
    if isinstance(properties := part.get("properties"), dict):
        made["properties"] = {name: _structural(each, definitions) for name, each in sorted(properties.items())}
    if isinstance(items := part.get("items"), dict):
        made["items"] = _structural(items, definitions)
    if isinstance(values := part.get("additionalProperties"), dict):
        made["additionalProperties"] = _structural(values, definitions)
    return made


def _kept(part: Mapping[str, object]) -> Schema:
    made = {name: part[name] for name in (*_KEPT, *_SIZES) if name in part}
    if isinstance(most := made.get("maximum"), int) and most > _EXACT:
        del made["maximum"]
        made["format"] = "int64"
    if "const" in part:
        made["enum"] = [part["const"]]
    for name in (_FREE, _VALIDATIONS):
        if name in part:
            made[name] = part[name]
    return made


def _described(part: Mapping[str, object]) -> Schema:
    return {"description": part["description"]} if "description" in part else {}


def _add_rules(made: Schema, name: str) -> None:
    properties = made.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    for field, each in properties.items():
        each.update(FIELDS.get((name, field), {}))
    rules = RULES.get(name, ())
    cel = [{"rule": each.cel, "message": each.message} for each in rules if isinstance(each, CelRule) and each.about in ("", *properties)]
    if cel:
        made[_VALIDATIONS] = cel
    if exclusive := [_exclusive(each) for each in rules if isinstance(each, AtMostOne)]:
        made["allOf"] = exclusive


def _exclusive(rule: AtMostOne) -> Schema:
    return {"not": {"anyOf": [{"required": list(pair)} for pair in combinations(rule.fields, 2)]}}
