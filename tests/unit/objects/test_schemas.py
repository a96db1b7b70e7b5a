"""Our typed objects against the schemas of Istio's CRDs, read from ``../shared/cases``; absent, the tests say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from controlplane.model.keys import NAVARCH, GroupKind
from controlplane.objects.kinds import KINDS

CRDS = Path(__file__).parents[4] / "shared" / "cases" / "crds" / "customresourcedefinitions.gen.yaml"
SPECS: dict[str, type[BaseModel]] = {kind: each.spec for (group, kind), each in KINDS.items() if each.spec is not None and group != NAVARCH}
Json = dict[str, object]


def mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def schemas() -> dict[str, Json]:
    """Return the schema of each kind's spec, of the first of its versions; all have the same."""
    if not CRDS.exists():
        pytest.skip("shared/cases is not here: the schemas of Istio's CRDs were not compared")
    found: dict[str, Json] = {}
    for crd in filter(None, yaml.safe_load_all(CRDS.read_text())):
        kind = crd["spec"]["names"]["kind"]
        if kind in SPECS:
            first, *others = [each["schema"]["openAPIV3Schema"]["properties"]["spec"] for each in crd["spec"]["versions"]]
            assert all(each == first for each in others), kind
            found[kind] = first
    return found


def model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := model_in(each))), None)


def choices_in(annotation: object) -> set[str]:
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {each for part in get_args(annotation) for each in choices_in(part)}


def differences(path: str, schema: Json, model: type[BaseModel]) -> Iterator[str]:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    properties = mapping(schema.get("properties"))
    required = schema.get("required") or []
    assert isinstance(required, list)
    yield from (f"{path}.{name}: is missing" for name in properties.keys() - fields.keys())
    yield from (f"{path}.{name}: is not Istio's" for name in fields.keys() - properties.keys())
    for name in properties.keys() & fields.keys():
        at, its, field = f"{path}.{name}", mapping(properties[name]), fields[name]
        if field.is_required() != (name in required):
            yield f"{at}: is required by one only"
        if (choices := its.get("enum")) and set(choices if isinstance(choices, list) else ()) != choices_in(field.annotation):
            yield f"{at}: has other choices: {choices}"
        below = its.get("items") or its.get("additionalProperties") or its
        inner = model_in(field.annotation)
        if isinstance(below, dict) and "properties" in below:
            yield from [f"{at}: is an object"] if inner is None else differences(at, below, inner)
        elif inner is not None:
            yield f"{at}: is no object"


def test_every_field_of_istio_is_in_the_typed_objects_and_no_other() -> None:
    found = schemas()

    assert found.keys() == SPECS.keys()
    wrong = [each for kind, schema in found.items() for each in differences(kind, schema, SPECS[kind])]
    assert not wrong, "\n".join(sorted(wrong))


def test_every_served_version_of_istio_is_read_and_no_other() -> None:
    if not CRDS.exists():
        pytest.skip("shared/cases is not here: the versions of Istio's CRDs were not compared")

    crds = [crd["spec"] for crd in filter(None, yaml.safe_load_all(CRDS.read_text()))]
    served = {GroupKind(crd["group"], crd["names"]["kind"]): {each["name"] for each in crd["versions"] if each["served"]} for crd in crds}

    wrong = {key: versions for key, versions in served.items() if key in KINDS and versions != set(KINDS[key].versions)}
    assert not wrong
