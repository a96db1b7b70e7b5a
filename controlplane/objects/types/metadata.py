"""What every object has: its kind, its name, its labels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from controlplane.model.keys import NAVARCH, GroupKind, Key
from controlplane.model.mesh import MESH_ANNOTATIONS
from controlplane.model.proxies import ANNOTATIONS
from controlplane.objects.types.scalars import EMPTY_MAP, Bool, FrozenMap, Model, Text, TextMap

_YOUNGEST = "~"  # after every digit


def _mesh_annotations(annotations: Mapping[str, str]) -> Mapping[str, str]:
    """Return the annotations that mean something to a mesh: others are long, change often, and change nothing."""
    ours = (*ANNOTATIONS, *MESH_ANNOTATIONS)
    known = (name for name in annotations if name in ours or name.partition("/")[0].endswith(("istio.io", NAVARCH)))
    return FrozenMap({name: annotations[name] for name in known})


class OwnerReference(Model):
    """An object that another is a part of; it is managed by the one that is its ``controller``."""

    kind: Text = ""
    name: Text = ""
    controller: Bool = False


class ObjectMeta(Model):
    """The part of an object's metadata that matters.

    The resource version is no part of it: with it, an object would differ after a write that changes nothing for the mesh.
    """

    name: Text
    namespace: Text = ""
    labels: TextMap = EMPTY_MAP
    annotations: Annotated[TextMap, AfterValidator(_mesh_annotations)] = EMPTY_MAP
    created: Text = Field(default="", alias="creationTimestamp")  # RFC 3339; objects from files have none
    deleted: Text = Field(default="", alias="deletionTimestamp")  # RFC 3339, of one that is going
    uid: Text = ""
    owners: tuple[OwnerReference, ...] = Field(default=(), alias="ownerReferences")
    generation: int = 0

    @property
    def seniority(self) -> str:
        """Return what sorts the older object first; one that says nothing of its age comes after all that do."""
        return self.created or _YOUNGEST


class KubernetesObject(Model):
    """An object as its user wrote it; equal to another of the same kind, name and content."""

    group_kind: ClassVar[GroupKind]
    kind: Text
    meta: ObjectMeta = Field(alias="metadata")

    @cached_property
    def key(self) -> Key:
        """Return the object's name in the mesh."""
        return Key(self.kind, self.meta.namespace, self.meta.name, self.group_kind.group)
