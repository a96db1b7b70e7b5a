"""The leaves of objects, read off the JSON schemas of their models: every field that holds a value, by its path.

``[]`` stands for the items of a list, ``{}`` for the values of a map: ``http[].match[].headers{}.exact``. Of a choice among texts
all alternatives are one leaf.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic.json_schema import PydanticJsonSchemaWarning

from controlplane.objects.kinds import KINDS
from controlplane.objects.kubernetes.core import EndpointSlice, KubernetesService, Namespace, Node, Pod
from controlplane.objects.mesh.mesh_config import MESH_CONFIG_KEY, MeshConfigSpec
from controlplane.objects.types.scalars import Model

Schema = Mapping[str, object]
Steps = tuple[str, ...]
ITEM = "[]"
ENTRY = "{}"
_STEP = re.compile(r"\[\]|\{\}|[^.\[{]+")
# Kinds of Kubernetes, whose fields stand at the top of the object; ServiceAccounts have none that are read, Secrets and ConfigMaps are kept
# out of the mesh.
_KUBERNETES: Mapping[str, type[Model]] = {
    "Namespace": Namespace,
    "Node": Node,
    "Service": KubernetesService,
    "EndpointSlice": EndpointSlice,
    "Pod": Pod,
}
_NAMES = {"MeshConfig": (MESH_CONFIG_KEY.namespace, MESH_CONFIG_KEY.name), "Namespace": ("", "tried"), "Node": ("", "node-2")}
_OF_EVERY_OBJECT = ("kind", "metadata")


@dataclass(frozen=True, slots=True)
class KindOfObject:
    """A kind whose leaves are tried: how an object of it begins, where its fields stand in it (``""``: at its top), and what they are."""

    name: str
    api_version: str
    root: str
    schema: Schema = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One field that holds a value."""

    path: str
    schema: Schema

    @property
    def steps(self) -> Steps:
        """Return the names, ``ITEM`` and ``ENTRY`` that lead there."""
        return steps(self.path)


def steps(path: str) -> Steps:
    """Return the parts of ``path``."""
    return tuple(_STEP.findall(path))


def kinds() -> Iterator[KindOfObject]:
    """Yield the kinds whose leaves are tried."""
    for (group, name), kind in KINDS.items():
        if kind.spec is not None:
            yield KindOfObject(name, f"{group}/{kind.versions[0]}", "spec", schema_of(kind.spec))
    yield KindOfObject("MeshConfig", "v1", "data.mesh", schema_of(MeshConfigSpec))
    for (group, name), kind in KINDS.items():
        if name in _KUBERNETES:
            yield KindOfObject(name, f"{group}/{kind.versions[0]}".lstrip("/"), "", _without_metadata(schema_of(_KUBERNETES[name])))


def leaves(schema: Schema, path: str = "") -> Iterator[Leaf]:
    """Yield the leaves of what has the ``schema`` and stands at ``path``."""
    fields = properties(schema)
    if fields or not path:
        for name, below in fields.items():
            yield from leaves(below, f"{path}.{name}".lstrip("."))
    elif (item := part(schema, "items")) is not None:
        yield from leaves(item, path + ITEM)
    elif (entry := part(schema, "additionalProperties")) is not None:
        yield from leaves(entry, path + ENTRY)
    else:
        yield Leaf(path, schema)


def containers(schema: Schema, path: str = "") -> Iterator[str]:
    """Yield the paths of the objects that have fields, in what has the ``schema`` and stands at ``path``."""
    if fields := properties(schema):
        yield path
        for name, below in fields.items():
            yield from containers(below, f"{path}.{name}".lstrip("."))
    for name, step in (("items", ITEM), ("additionalProperties", ENTRY)):
        if (inner := part(schema, name)) is not None:
            yield from containers(inner, path + step)


def properties(schema: Schema) -> Mapping[str, Schema]:
    """Return the fields of an object."""
    fields = schema.get("properties")
    return fields if isinstance(fields, dict) else {}


def part(schema: Schema, name: str) -> Schema | None:
    """Return the schema of the items of a list, or of the values of a map."""
    below = schema.get(name)
    return below if isinstance(below, dict) else None


def schema_of(model: type[Model]) -> Schema:
    """Return the JSON schema of ``model``, without references and nulls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)  # of defaults that are objects
        whole = model.model_json_schema(by_alias=True)
    return _resolved(whole, whole.get("$defs", {}))


def _resolved(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    if isinstance(reference := schema.get("$ref"), str):
        return _resolved(definitions[reference.rpartition("/")[2]], definitions)
    if isinstance(choices := schema.get("anyOf"), list):
        [only] = [choice for choice in choices if choice.get("type") != "null"]
        return {**_resolved(only, definitions), **({"default": schema["default"]} if "default" in schema else {})}
    resolved = {name: value for name, value in schema.items() if name != "$defs"}
    if fields := properties(schema):
        resolved["properties"] = {name: _resolved(below, definitions) for name, below in fields.items()}
    for name in ("items", "additionalProperties"):
        if (below := part(schema, name)) is not None:
            resolved[name] = _resolved(below, definitions)
    return resolved


def _without_metadata(schema: Schema) -> Schema:
    fields = {name: below for name, below in properties(schema).items() if name not in _OF_EVERY_OBJECT}
    return {**schema, "properties": fields, "required": ()}


def object_name(kind: KindOfObject) -> tuple[str, str]:
    """Return the namespace and the name of the object that is tried."""
    return _NAMES.get(kind.name, ("default", "tried"))
