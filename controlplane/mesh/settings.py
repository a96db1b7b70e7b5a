"""The settings of the mesh, as the ConfigMap ``istio`` gives them."""

from __future__ import annotations

from controlplane.incremental.database import Database, query
from controlplane.mesh.inputs import objects
from controlplane.model.keys import Key
from controlplane.model.mesh import MeshSettings, OutboundPolicy
from controlplane.objects.mesh_config import MeshConfig

MESH_CONFIG = Key("ConfigMap", "istio-system", "istio")


@query
def settings(db: Database) -> MeshSettings:
    """Return the settings of the mesh, Istio's defaults where nothing is said."""
    value = objects(db, MESH_CONFIG)
    if not isinstance(value, MeshConfig):
        return MeshSettings()
    return MeshSettings(
        outbound_policy=OutboundPolicy(value.outbound_traffic_policy.mode),
        http_proxy_port=value.proxy_http_port,
        trust_domain=value.trust_domain,
        root_namespace=value.root_namespace,
    )
