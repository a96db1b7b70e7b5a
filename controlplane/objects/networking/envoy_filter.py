"""EnvoyFilter: patches to what proxies are sent.

https://istio.io/latest/docs/reference/config/networking/envoy-filter/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from controlplane.model.keys import ENVOY_FILTER, GroupKind
from controlplane.objects.networking.service_entry import WorkloadLabelSelector
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import EMPTY_MAP, Int, Model, Port, Struct, Text, TextMap, UInt
from controlplane.objects.types.selectors import PolicyTargetReference

ApplyTo = Literal[
    "INVALID",
    "LISTENER",
    "FILTER_CHAIN",
    "NETWORK_FILTER",
    "HTTP_FILTER",
    "ROUTE_CONFIGURATION",
    "VIRTUAL_HOST",
    "HTTP_ROUTE",
    "CLUSTER",
    "EXTENSION_CONFIG",
    "BOOTSTRAP",
    "LISTENER_FILTER",
]
PatchOperation = Literal[
    "INVALID", "MERGE", "ADD", "REMOVE", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST", "REPLACE", "MERGE_AND_REPLACE_LIST"
]


class ProxyMatch(Model):
    """Proxies by version and metadata."""

    proxy_version: Text = ""
    metadata: TextMap = EMPTY_MAP


class ClusterMatch(Model):
    """A cluster."""

    port_number: UInt = 0
    service: Text = ""
    subset: Text = ""
    name: Text = ""


class RouteMatch(Model):
    """A route."""

    name: Text = ""
    action: Literal["ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE"] = "ANY"


class VirtualHostMatch(Model):
    """A virtual host."""

    name: Text = ""
    domain_name: Text = ""
    route: RouteMatch | None = None


class RouteConfigurationMatch(Model):
    """A route configuration."""

    port_number: UInt = 0
    port_name: Text = ""
    gateway: Text = ""
    vhost: VirtualHostMatch | None = None
    name: Text = ""


class SubFilterMatch(Model):
    """An HTTP filter within the connection manager."""

    name: Text = ""


class FilterMatch(Model):
    """A network filter."""

    name: Text = ""
    sub_filter: SubFilterMatch | None = None


class FilterChainMatch(Model):
    """A filter chain."""

    name: Text = ""
    sni: Text = ""
    transport_protocol: Text = ""
    application_protocols: Text = ""
    filter: FilterMatch | None = None
    destination_port: UInt = 0


class ListenerMatch(Model):
    """A listener."""

    port_number: UInt = 0
    port_name: Text = ""
    filter_chain: FilterChainMatch | None = None
    listener_filter: Text = ""
    name: Text = ""


class WaypointRouteMatch(Model):
    """A route of a waypoint."""

    name: Text = ""


class WaypointMatch(Model):
    """A part of a waypoint."""

    port_number: Port | None = None
    filter: FilterMatch | None = None
    route: WaypointRouteMatch | None = None


class ObjectMatch(Model):
    """What is patched."""

    context: Literal["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"] = "ANY"
    proxy: ProxyMatch | None = None
    listener: ListenerMatch | None = None
    route_configuration: RouteConfigurationMatch | None = None
    cluster: ClusterMatch | None = None
    waypoint: WaypointMatch | None = None


class Patch(Model):
    """What becomes of it."""

    operation: PatchOperation = "INVALID"
    value: Struct | None = None
    filter_class: Literal["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"] = "UNSPECIFIED"


class ObjectPatch(Model):
    """One patch."""

    apply_to: ApplyTo = "INVALID"
    match: ObjectMatch | None = None
    patch: Patch | None = None


class EnvoyFilterSpec(Model):
    """Patches for the proxies of some workloads, or of the namespace."""

    workload_selector: WorkloadLabelSelector | None = None
    target_refs: Annotated[tuple[PolicyTargetReference, ...], Field(max_length=16)] = ()
    config_patches: tuple[ObjectPatch, ...] = ()
    priority: Int = 0


class EnvoyFilter(KubernetesObject):
    """Patches to what proxies are sent."""

    group_kind: ClassVar[GroupKind] = ENVOY_FILTER

    spec: EnvoyFilterSpec = EnvoyFilterSpec()
