"""The settings of the mesh, as the ConfigMap ``istio`` gives them."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.incremental.database import Database, query
from controlplane.ir.listeners import ConnectionLimits
from controlplane.mesh.inputs import objects
from controlplane.model.keys import POD, Key
from controlplane.model.mesh import (
    ALLOW,
    FOREIGN_ROUTES,
    METRIC_NAMES,
    PREFIXED,
    SOCKET_ENDPOINTS,
    MeshSettings,
    OutboundPolicy,
    PathNormalization,
)
from controlplane.model.proxies import PROXY_CONFIG, Proxy
from controlplane.objects.kubernetes.core import Pod
from controlplane.objects.mesh.extension_providers import ExtensionProvider
from controlplane.objects.mesh.mesh_config import MESH_CONFIG_KEY, MeshConfig
from controlplane.objects.networking.proxy_config import (
    ProxyConnections,
    ProxySettings,
    annotated_settings,
    max_request_headers_kb,
)
from controlplane.objects.telemetry.proxy_tracing import ProxyTracing


@query
def mesh_settings(db: Database) -> MeshSettings:
    """Return the settings of the mesh, Istio's defaults where there are none."""
    mesh_config = objects(db, MESH_CONFIG_KEY)
    if not isinstance(mesh_config, MeshConfig):
        return MeshSettings()
    spec = mesh_config.spec
    paths = spec.path_normalization.normalization
    return MeshSettings(
        outbound_policy=_outbound_policy(spec.outbound_traffic_policy.mode),
        http_proxy_port=spec.proxy_http_port or None,
        trust_domain=spec.trust_domain,
        trust_domain_aliases=tuple(dict.fromkeys(alias for alias in spec.trust_domain_aliases if alias != spec.trust_domain)),
        root_namespace=spec.root_namespace,
        paths=PathNormalization.BASE if paths == "DEFAULT" else PathNormalization(paths),
        detection_timeout_ms=spec.protocol_detection_timeout or 0,
        upgrades=spec.h2_upgrade_policy == "UPGRADE",
        socket_endpoints=mesh_config.meta.annotations.get(SOCKET_ENDPOINTS, ALLOW) == ALLOW,
        foreign_routes=mesh_config.meta.annotations.get(FOREIGN_ROUTES, ALLOW) == ALLOW,
        plain_metric_names=mesh_config.meta.annotations.get(METRIC_NAMES) != PREFIXED,
    )


def own_limits(db: Database, proxy: Proxy) -> ConnectionLimits:
    """Return the limits that ``proxy`` has of its own: by the annotations of its pod, else by those that it tells of."""
    limits = _pod_limits(db, POD.key(proxy.namespace, proxy.name))
    return _limits_by(dict(proxy.annotations)) if limits is None else limits


@query
def _pod_limits(db: Database, key: Key) -> ConnectionLimits | None:
    """Return the limits that the pod ``key`` asks for its proxy, ``None`` where it is not known; pods change often, these do not."""
    pod = objects(db, key)
    return _limits_by(pod.meta.annotations) if isinstance(pod, Pod) else None


def own_tracing(db: Database, proxy: Proxy) -> ProxyTracing | None:
    """Return the settings of traces that ``proxy`` has of its own: by the annotations of its pod, else by those that it tells of."""
    annotation = pod_annotation(db, POD.key(proxy.namespace, proxy.name))
    return annotated_settings(dict(proxy.annotations).get(PROXY_CONFIG, "") if annotation is None else annotation).tracing


@query
def pod_annotation(db: Database, key: Key) -> str | None:
    """Return the settings of its proxy that the pod ``key`` has in an annotation; ``None`` where the pod is not known."""
    pod = objects(db, key)
    return pod.meta.annotations.get(PROXY_CONFIG, "") if isinstance(pod, Pod) else None


def _limits_by(annotations: Mapping[str, str]) -> ConnectionLimits:
    return _limits(annotated_settings(annotations.get(PROXY_CONFIG, "")), annotations)


@query
def default_limits(db: Database) -> ConnectionLimits:
    """Return the limits of proxies that have none of their own."""
    mesh_config = objects(db, MESH_CONFIG_KEY)
    annotations = mesh_config.meta.annotations if isinstance(mesh_config, MeshConfig) else {}
    return _limits(proxy_defaults(db), annotations)


def _limits(settings: ProxySettings, annotations: Mapping[str, str]) -> ConnectionLimits:
    connections = settings.connection_settings or ProxyConnections()
    return ConnectionLimits(
        buffer_bytes=connections.listener_per_connection_buffer_limit_bytes,
        max_concurrent_streams=connections.http_max_concurrent_streams,
        stream_window_bytes=connections.http2_initial_stream_window_size,
        connection_window_bytes=connections.http2_initial_connection_window_size,
        max_request_headers_kb=max_request_headers_kb(annotations),
        headers_timeout_ms=connections.http_request_headers_timeout,
    )


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


def _outbound_policy(mode: str) -> OutboundPolicy:
    """Return the policy that ``mode`` of ``outboundTrafficPolicy`` means: what is not for known hosts alone is for any."""
    return OutboundPolicy.REGISTRY_ONLY if mode == OutboundPolicy.REGISTRY_ONLY else OutboundPolicy.ALLOW_ANY
