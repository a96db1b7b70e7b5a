"""What an Envoy has to be told before it can ask: who it is, where the control plane is, and what it must not exceed.

All is data. In a pod the bootstrap is an argument of the container, in which the kubelet puts what only it knows: every value of that
kind is a text here, so that ``$(POD_IP)`` can stand for it.
https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.bootstrap.overload_manager import OverloadLimits, overload_manager
from controlplane.bootstrap.statistics import Statistics, statistics
from controlplane.bootstrap.status_listeners import ApplicationProbe, StatusPorts, status_clusters, status_listeners
from controlplane.bootstrap.xds_cluster import XdsServer, socket_address, xds_cluster, xds_grpc_service
from controlplane.model.proxies import EXPRESSION_LIMIT, Interception, ProxyType
from controlplane.model.services import Labels
from controlplane.translate.patches.bootstrap import patched_bootstrap
from controlplane.translate.patches.patch import EnvoyPatch, PatchFault, PatchOutcome

ADMIN = "127.0.0.1:15000"
_ADS = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
# Envoy refuses regular expressions above 100 instructions otherwise; its node says so, as who gets what is checked by it.
_MAX_PROGRAM_SIZE = 32768
_RUNTIME = {"re2.max_program_size.error_level": _MAX_PROGRAM_SIZE}
_STATUS_PORTS, _LIMITS, _STATISTICS = StatusPorts(), OverloadLimits(), Statistics()


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapNode:
    """Who an Envoy is; the names of the metadata are Istio's."""

    name: str  # of its pod, or of its machine
    namespace: str
    ip: str
    service_account: str = "default"
    app: str = ""  # empty: its name
    service: str = ""  # what traces call it; empty: APP.NAMESPACE
    type: ProxyType = ProxyType.SIDECAR
    labels: Labels | None = None  # None: those of the Pod
    interception: Interception = Interception.REDIRECT
    locality: str = ""  # "region/zone/subzone"
    group: str = ""  # the WorkloadGroup by which it registers itself, outside Kubernetes
    more: tuple[tuple[str, str], ...] = ()  # further metadata

    @property
    def id(self) -> str:
        """Return the node id, as Istio's proxies call themselves."""
        return f"{self.type}~{self.ip}~{self.name}.{self.namespace}~{self.namespace}.svc.cluster.local"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapSettings:
    """All that a bootstrap is made from."""

    node: BootstrapNode
    control_plane: XdsServer
    admin: str = ADMIN
    status: StatusPorts | None = _STATUS_PORTS  # None: neither metrics nor readiness are served
    probes: tuple[ApplicationProbe, ...] = ()
    limits: OverloadLimits = _LIMITS
    statistics: Statistics = _STATISTICS
    patches: tuple[EnvoyPatch, ...] = ()  # to what all the rest makes


def bootstrap(settings: BootstrapSettings) -> dict[str, object]:
    """Return the bootstrap by ``settings``, as proto3 JSON."""
    return bootstrap_and_faults(settings)[0]


def bootstrap_and_faults(settings: BootstrapSettings) -> tuple[dict[str, object], tuple[PatchFault, ...]]:
    """Return the bootstrap by ``settings``, and which of its patches could not be applied, and why."""
    document = _unpatched(settings)
    if not settings.patches:
        return document, ()
    outcome = PatchOutcome()
    return patched_bootstrap(document, settings.patches, outcome), tuple(outcome.faults)


def _unpatched(settings: BootstrapSettings) -> dict[str, object]:
    has_identity = settings.control_plane.credentials is not None
    clusters = [xds_cluster(settings.control_plane)]
    listeners: list[dict[str, object]] = []
    if settings.status:
        clusters += status_clusters(settings.admin, settings.status, settings.probes)
        listeners += status_listeners(settings.status, settings.probes)
    static = {"clusters": clusters, **({"listeners": listeners} if listeners else {})}
    return {
        "node": _node(settings.node),
        "admin": {"address": socket_address(settings.admin), "ignore_global_conn_limit": True},
        "dynamic_resources": {"ads_config": _ads(settings.control_plane), "cds_config": _ADS, "lds_config": _ADS},
        "static_resources": static,
        # A proxy that registers itself gets health checks of its application from the control plane, and reports the results.
        **({"hds_config": _stream("GRPC")} if has_identity and settings.node.group else {}),
        # What a proxy reports counts for its identity: one without an identity is not asked.
        **({"cluster_manager": {"load_stats_config": _stream("GRPC")}} if has_identity else {}),
        "overload_manager": overload_manager(settings.limits),
        "layered_runtime": {"layers": [{"name": "static", "static_layer": _RUNTIME}, {"name": "admin", "admin_layer": {}}]},
        **statistics(settings.statistics),
    }


def _node(node: BootstrapNode) -> dict[str, object]:
    region, zone, sub_zone = (*node.locality.split("/"), "", "", "")[:3]
    metadata: dict[str, object] = {
        "NAME": node.name,
        "NAMESPACE": node.namespace,
        "SERVICE_ACCOUNT": node.service_account,
        "INTERCEPTION_MODE": node.interception.value,
        "INSTANCE_IPS": node.ip,
        EXPRESSION_LIMIT: _MAX_PROGRAM_SIZE,
        **({"AUTO_REGISTER_GROUP": node.group} if node.group else {}),
        **dict(node.more),
    }
    if node.labels is not None:
        metadata["LABELS"] = dict(node.labels)
    locality: Mapping[str, str] = {"region": region, "zone": zone, "sub_zone": sub_zone}
    return {
        "id": node.id,
        "cluster": node.service or f"{node.app or node.name}.{node.namespace}",
        "metadata": metadata,
        **({"locality": {name: part for name, part in locality.items() if part}} if region else {}),
    }


def _ads(control_plane: XdsServer) -> dict[str, object]:
    return {**_stream("DELTA_GRPC" if control_plane.delta else "GRPC"), "set_node_on_first_message_only": True}


def _stream(kind: str) -> dict[str, object]:
    return {"api_type": kind, "transport_api_version": "V3", "grpc_services": [xds_grpc_service()]}
