"""The CustomResourceDefinitions in ``manifests/crds`` are what the models say now, and take what Istio's take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from controlplane.model.keys import NAVARCH
from controlplane.objects.crds.definitions import definitions

OURS = Path(__file__).parents[3] / "manifests" / "crds"
THEIRS = Path(__file__).parents[4] / "shared" / "cases" / "crds" / "customresourcedefinitions.gen.yaml"
Json = dict[str, object]


def test_the_files_are_up_to_date() -> None:
    made = {str(each["metadata"]["name"]): each for each in map(plain, definitions())}  # type: ignore[index]

    there = {path.stem: yaml.safe_load(path.read_text()) for path in OURS.glob("*.yaml")}

    assert there == made, "run: make crds"


def test_every_field_that_istio_has_is_one_of_ours() -> None:
    if not THEIRS.exists():
        pytest.skip("not run: shared/cases is not here")
    theirs = {each["metadata"]["name"]: each for each in yaml.safe_load_all(THEIRS.read_text())}
    missing: list[str] = []
    count = 0
    for made in map(plain, definitions()):
        name = made["metadata"]["name"]  # type: ignore[index]
        if str(name).endswith(NAVARCH):
            continue
        wanted = {version["name"]: set(fields(version)) for version in theirs[name]["spec"]["versions"]}
        has = {version["name"]: set(fields(version)) for version in made["spec"]["versions"]}  # type: ignore[index]
        assert wanted.keys() == has.keys()
        for version, paths in wanted.items():
            count += len(paths)
            missing += (f"{name} {version} {path}" for path in sorted(paths - has[version]))

    print(f"{count} fields, {len(missing)} missing")
    assert missing == []


def fields(version: Json) -> Iterator[str]:
    """Yield the path and type of every field of the spec."""
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]  # type: ignore[index]
    yield from _fields(spec, "spec")


def _fields(schema: Json, path: str) -> Iterator[str]:
    properties = schema.get("properties")
    for name, each in properties.items() if isinstance(properties, dict) else ():
        yield f"{path}.{name}: {each.get('type', 'any')}"
        yield from _fields(each, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        below = schema.get(name)
        if isinstance(below, dict):
            yield from _fields(below, f"{path}[]")


def plain(value: object) -> Json:
    """Return ``value`` as YAML would read it back."""
    read: Json = yaml.safe_load(yaml.safe_dump(value))
    return read
