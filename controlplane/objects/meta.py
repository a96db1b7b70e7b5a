"""What every object has: its kind, its name, its labels."""

from __future__ import annotations

from functools import cached_property

from pydantic import Field

from controlplane.model.keys import Key
from controlplane.objects.scalars import Model, Text, TextMap


class Meta(Model):
    """The part of an object's metadata that matters."""

    name: Text
    namespace: Text = ""
    labels: TextMap = {}
    annotations: TextMap = {}
    created: Text = Field(default="", alias="creationTimestamp")  # RFC 3339; objects from files have none
    generation: int = 0


class KubernetesObject(Model):
    """An object as its user wrote it; equal to another of the same kind, name and content."""

    kind: Text
    meta: Meta = Field(alias="metadata")

    @cached_property
    def key(self) -> Key:
        """Return the object's name in the mesh."""
        return Key(self.kind, self.meta.namespace, self.meta.name)
