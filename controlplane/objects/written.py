"""From an object back to a manifest: what its user wrote, as far as it is read."""

from __future__ import annotations

import json

from controlplane.objects.kinds import KINDS, Object
from controlplane.objects.mesh.mesh_config import MeshConfig
from controlplane.objects.types.scalars import AS_WRITTEN
from controlplane.untyped import Json

_KEPT_BY_SERVERS = ("creationTimestamp", "deletionTimestamp", "uid", "ownerReferences", "generation")


def manifest(item: Object) -> Json:
    """Return ``item`` as a document that means the same; what an API server writes into metadata is left out."""
    document: Json = item.model_dump(mode="json", by_alias=True, exclude_unset=True, context=AS_WRITTEN)
    metadata = document.pop("metadata", {})
    kind = KINDS[item.group_kind]
    group = f"{item.group_kind.group}/" if item.group_kind.group else ""
    if isinstance(item, MeshConfig):
        document["data"] = {"mesh": json.dumps(document.pop("spec", {}), indent=2)}  # JSON is YAML, too
    document.pop("kind", None)
    document.pop("apiVersion", None)
    return {
        "apiVersion": f"{group}{kind.versions[0]}",
        "kind": item.group_kind.kind,
        "metadata": {name: value for name, value in metadata.items() if name not in _KEPT_BY_SERVERS and value not in ({}, "")}
        if isinstance(metadata, dict)
        else {},
        **document,
    }
