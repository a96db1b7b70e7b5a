"""The providers that Telemetries and the mesh's settings name, and the services that they are."""

from __future__ import annotations

from controlplane.incremental.database import Database, query
from controlplane.mesh.inputs import objects
from controlplane.objects.mesh.extension_providers import ExtensionProvider
from controlplane.objects.mesh.mesh_config import MESH_CONFIG_KEY, MeshConfig, MeshConfigSpec

# What there is without anybody's saying so.
BUILT_IN = tuple(
    ExtensionProvider.model_validate(written)
    for written in ({"name": "prometheus", "prometheus": {}}, {"name": "envoy", "envoyFileAccessLog": {}})
)


@query
def telemetry_provider(db: Database, name: str) -> ExtensionProvider | None:
    """Return the provider ``name``, in whatever case: one of the mesh's settings, or else one that is built in."""
    wanted = name.casefold()
    known = (*mesh_spec(db).extension_providers, *BUILT_IN)
    return next((provider for provider in known if provider.name.casefold() == wanted), None)


def mesh_spec(db: Database) -> MeshConfigSpec:
    """Return the settings of the mesh as they are written, Istio's defaults where there are none."""
    mesh_config = objects(db, MESH_CONFIG_KEY)
    return mesh_config.spec if isinstance(mesh_config, MeshConfig) else MeshConfigSpec()
