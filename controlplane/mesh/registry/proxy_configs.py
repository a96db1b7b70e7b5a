"""The settings of proxies that their pods are injected with, by ProxyConfigs and the mesh's settings."""

from __future__ import annotations

from controlplane.incremental.database import Database, query
from controlplane.mesh.facets import namespaces_with, of_kind
from controlplane.mesh.inputs import index, objects
from controlplane.mesh.registry.mesh_settings import mesh_settings, proxy_defaults
from controlplane.model.keys import PROXY_CONFIG_KIND
from controlplane.objects.networking.proxy_config import ProxyConfig
from controlplane.objects.networking.proxy_configs import ProxyConfigs, selected_settings


@query
def proxy_configs(db: Database) -> ProxyConfigs:
    """Return all settings of proxies."""
    selected = selected_settings(
        config
        for namespace in sorted(marker.namespace for marker in index(db, namespaces_with(PROXY_CONFIG_KIND)))
        for config in proxy_configs_of(db, namespace)
    )
    return ProxyConfigs(proxy_defaults(db), mesh_settings(db).root_namespace, selected)


@query
def proxy_configs_of(db: Database, namespace: str) -> tuple[ProxyConfig, ...]:
    """Return the ProxyConfigs of ``namespace``, the oldest first."""
    found = (objects(db, key) for key in index(db, of_kind(PROXY_CONFIG_KIND, namespace)))
    return tuple(sorted((each for each in found if isinstance(each, ProxyConfig)), key=lambda each: (each.meta.seniority, each.key)))
