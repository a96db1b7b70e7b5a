"""What a source says, that an object is this now or is gone, and its division by who may see the object.

Secrets, and the ConfigMaps beside them, are for the stores of credentials alone. Everything else is for the mesh, whose database is read
by every query and shown by the admin API: what it takes, a ``MeshChange``, has no room for a Secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.model.keys import CONFIG_MAP, SECRET, Key
from controlplane.objects.kinds import CredentialObject, MeshObject, Object
from controlplane.objects.kubernetes.secrets import ConfigMap, Secret
from controlplane.objects.mesh import mesh_config

_CREDENTIAL_KINDS = (SECRET, CONFIG_MAP)


@dataclass(frozen=True, slots=True)
class Change:
    """The object ``key`` is ``object`` now; ``None`` means that it is gone."""

    key: Key
    object: Object | None


@dataclass(frozen=True, slots=True)
class MeshChange:
    """A change of an object that the mesh is made from."""

    key: Key
    object: MeshObject | None


@dataclass(frozen=True, slots=True)
class CredentialChange:
    """A change of a Secret or a ConfigMap, where credentials are looked up."""

    key: Key
    object: CredentialObject | None


def split(changes: Iterable[Change]) -> tuple[tuple[MeshChange, ...], tuple[CredentialChange, ...]]:
    """Divide ``changes`` into those for the mesh and those of credentials, each in the order given."""
    for_mesh: list[MeshChange] = []
    of_credentials: list[CredentialChange] = []
    for change in changes:
        match change.object:
            case Secret() | ConfigMap() as credential:
                of_credentials.append(CredentialChange(change.key, credential))
            case None if _names_credential(change.key):
                of_credentials.append(CredentialChange(change.key, None))
            case mesh_object:
                for_mesh.append(MeshChange(change.key, mesh_object))
    return tuple(for_mesh), tuple(of_credentials)


def _names_credential(key: Key) -> bool:
    """Return whether ``key``, which is all that a deletion has, is that of a Secret or ConfigMap other than the mesh's settings."""
    return key.group_kind in _CREDENTIAL_KINDS and key != mesh_config.MESH_CONFIG_KEY
