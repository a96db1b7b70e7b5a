"""The settings of the mesh, as the ConfigMap ``istio`` gives them."""

from __future__ import annotations

from dataclasses import replace

from controlplane.incremental.database import Database, query
from controlplane.ir.listeners import ConnectionSettings
from controlplane.mesh.inputs import objects
from controlplane.model.mesh import MeshSettings, OutboundPolicy, PathNormalization
from controlplane.objects.mesh.extension_providers import ExtensionProvider
from controlplane.objects.mesh.mesh_config import MESH_CONFIG_KEY, MeshConfig
from controlplane.objects.networking.proxy_config import ProxySettings


@query
def mesh_settings(db: Database) -> MeshSettings:
    """Return the settings of the mesh, Istio's defaults where there are none."""
    mesh_config = objects(db, MESH_CONFIG_KEY)
    if not isinstance(mesh_config, MeshConfig):
        return MeshSettings()
    spec = mesh_config.spec
    paths = spec.path_normalization.normalization
    return MeshSettings(
        outbound_policy=OutboundPolicy(spec.outbound_traffic_policy.mode),
        http_proxy_port=spec.proxy_http_port or None,
        trust_domain=spec.trust_domain,
        trust_domain_aliases=tuple(dict.fromkeys(alias for alias in spec.trust_domain_aliases if alias != spec.trust_domain)),
        root_namespace=spec.root_namespace,
        paths=PathNormalization.BASE if paths == "DEFAULT" else PathNormalization(paths),
        upgrades=spec.h2_upgrade_policy == "UPGRADE",
    )


@query
def connection_settings(db: Database) -> ConnectionSettings:
    """Return what holds for connections to workloads and through gateways."""
    return ConnectionSettings(paths=mesh_settings(db).paths)


@query
def outbound_connection_settings(db: Database) -> ConnectionSettings:
    """Return what holds for connections from workloads: their paths are normalised further where they arrive."""
    return replace(connection_settings(db), paths=PathNormalization.BASE)


@query
def proxy_defaults(db: Database) -> ProxySettings:
    """Return the settings that proxies have by default."""
    mesh_config = objects(db, MESH_CONFIG_KEY)
    return mesh_config.spec.default_config if isinstance(mesh_config, MeshConfig) else ProxySettings()


@query
def extension_provider(db: Database, name: str) -> ExtensionProvider | None:
    """Return the provider that the settings of the mesh call ``name``."""
    mesh_config = objects(db, MESH_CONFIG_KEY)
    listed = mesh_config.spec.extension_providers if isinstance(mesh_config, MeshConfig) else ()
    return next((provider for provider in listed if provider.name == name), None)
