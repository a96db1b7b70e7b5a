"""The kinds of objects that are read, and which class and rules each has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from controlplane.objects.authorization_policy import AuthorizationPolicy, AuthorizationPolicySpec
from controlplane.objects.core import EndpointSlice, Namespace, Node, Pod, Service, ServiceAccount
from controlplane.objects.destination_rule import DestinationRule, DestinationRuleSpec
from controlplane.objects.envoy_filter import EnvoyFilter, EnvoyFilterSpec
from controlplane.objects.gateway import Gateway, GatewaySpec
from controlplane.objects.held import ConfigMap, Secret
from controlplane.objects.mesh_config import MeshConfig
from controlplane.objects.peer_authentication import PeerAuthentication, PeerAuthenticationSpec
from controlplane.objects.proxy_config import ProxyConfig, ProxyConfigSpec
from controlplane.objects.request_authentication import RequestAuthentication, RequestAuthenticationSpec
from controlplane.objects.review import Finding
from controlplane.objects.rules import (
    authorization_policy,
    core,
    destination_rule,
    envoy_filter,
    gateway,
    peer_authentication,
    proxy_config,
    request_authentication,
    service_entry,
    sidecar,
    telemetry,
    traffic_extension,
    virtual_service,
    wasm_plugin,
    workload_group,
)
from controlplane.objects.scalars import Model
from controlplane.objects.service_entry import ServiceEntry, ServiceEntrySpec, WorkloadEntry, WorkloadSpec
from controlplane.objects.sidecar import Sidecar, SidecarSpec
from controlplane.objects.telemetry import Telemetry, TelemetrySpec
from controlplane.objects.traffic_extension import TrafficExtension, TrafficExtensionSpec
from controlplane.objects.virtual_service import VirtualService, VirtualServiceSpec
from controlplane.objects.wasm_plugin import WasmPlugin, WasmPluginSpec
from controlplane.objects.workload_group import WorkloadGroup, WorkloadGroupSpec

Policy: TypeAlias = PeerAuthentication | RequestAuthentication | AuthorizationPolicy | Telemetry | WasmPlugin | TrafficExtension
Edge: TypeAlias = Gateway | WorkloadGroup | EnvoyFilter | ProxyConfig
Object: TypeAlias = (
    Service
    | EndpointSlice
    | Pod
    | Namespace
    | Node
    | ServiceAccount
    | Secret
    | ConfigMap
    | MeshConfig
    | VirtualService
    | DestinationRule
    | ServiceEntry
    | WorkloadEntry
    | Sidecar
    | Edge
    | Policy
)

NETWORKING = "networking.istio.io"
SECURITY = "security.istio.io"
TELEMETRY = "telemetry.istio.io"
EXTENSIONS = "extensions.istio.io"
# Groups whose other kinds mean something that we do not do yet, which is worth a warning.
TRANSLATED_LATER = (NETWORKING, SECURITY, TELEMETRY, EXTENSIONS, "gateway.networking.k8s.io")
_VERSIONS = ("v1", "v1beta1", "v1alpha3")


@dataclass(frozen=True, slots=True)
class Kind:
    """How objects of one kind are read; ``spec`` only where unknown fields of it are told, ``later`` if they have no effect yet."""

    model: type[Object]
    versions: tuple[str, ...] = _VERSIONS
    spec: type[Model] | None = None
    later: bool = False


KINDS: Mapping[tuple[str, str], Kind] = {
    ("", "Service"): Kind(Service, ("v1",)),
    ("", "Pod"): Kind(Pod, ("v1",)),
    ("", "Namespace"): Kind(Namespace, ("v1",)),
    ("", "Node"): Kind(Node, ("v1",)),
    ("", "ServiceAccount"): Kind(ServiceAccount, ("v1",)),
    ("", "Secret"): Kind(Secret, ("v1",)),
    ("", "ConfigMap"): Kind(ConfigMap, ("v1",)),
    ("discovery.k8s.io", "EndpointSlice"): Kind(EndpointSlice, ("v1", "v1beta1")),
    (NETWORKING, "VirtualService"): Kind(VirtualService, spec=VirtualServiceSpec),
    (NETWORKING, "DestinationRule"): Kind(DestinationRule, spec=DestinationRuleSpec),
    (NETWORKING, "ServiceEntry"): Kind(ServiceEntry, spec=ServiceEntrySpec),
    (NETWORKING, "WorkloadEntry"): Kind(WorkloadEntry, spec=WorkloadSpec),
    (NETWORKING, "Sidecar"): Kind(Sidecar, spec=SidecarSpec),
    (NETWORKING, "Gateway"): Kind(Gateway, spec=GatewaySpec),
    (NETWORKING, "WorkloadGroup"): Kind(WorkloadGroup, spec=WorkloadGroupSpec),
    (NETWORKING, "EnvoyFilter"): Kind(EnvoyFilter, ("v1alpha3",), EnvoyFilterSpec, later=True),
    (NETWORKING, "ProxyConfig"): Kind(ProxyConfig, ("v1beta1",), ProxyConfigSpec, later=True),
    (SECURITY, "PeerAuthentication"): Kind(PeerAuthentication, ("v1", "v1beta1"), PeerAuthenticationSpec),
    (SECURITY, "RequestAuthentication"): Kind(RequestAuthentication, ("v1", "v1beta1"), RequestAuthenticationSpec),
    (SECURITY, "AuthorizationPolicy"): Kind(AuthorizationPolicy, ("v1", "v1beta1"), AuthorizationPolicySpec),
    (TELEMETRY, "Telemetry"): Kind(Telemetry, ("v1", "v1alpha1"), TelemetrySpec, later=True),
    (EXTENSIONS, "WasmPlugin"): Kind(WasmPlugin, ("v1alpha1",), WasmPluginSpec, later=True),
    (EXTENSIONS, "TrafficExtension"): Kind(TrafficExtension, ("v1alpha1",), TrafficExtensionSpec, later=True),
}


def check(value: Object) -> Iterator[Finding]:
    """Yield what is wrong with ``value`` beyond the types of its fields."""
    match value:
        case EndpointSlice() | Service() | Pod():
            yield from _check_core(value)
        case VirtualService():
            yield from virtual_service.check(value)
        case DestinationRule():
            yield from destination_rule.check(value)
        case ServiceEntry():
            yield from service_entry.check(value)
        case WorkloadEntry():
            yield from service_entry.check_workload(value)
        case Sidecar():
            yield from sidecar.check(value)
        case Namespace() | Node() | ServiceAccount() | Secret() | ConfigMap() | MeshConfig():
            return
        case Gateway() | WorkloadGroup() | EnvoyFilter() | ProxyConfig():
            yield from _check_edge(value)
        case _:
            yield from _check_policy(value)


def _check_core(value: EndpointSlice | Service | Pod) -> Iterator[Finding]:
    match value:
        case EndpointSlice():
            yield from core.check_slice(value)
        case Service():
            yield from core.check_service(value)
        case Pod():
            yield from core.check_pod(value)
        case _:
            assert_never(value)


def _check_edge(value: Edge) -> Iterator[Finding]:
    match value:
        case Gateway():
            yield from gateway.check(value)
        case WorkloadGroup():
            yield from workload_group.check(value)
        case EnvoyFilter():
            yield from envoy_filter.check(value)
        case ProxyConfig():
            yield from proxy_config.check(value)
        case _:
            assert_never(value)


def _check_policy(value: Policy) -> Iterator[Finding]:
    match value:
        case PeerAuthentication():
            yield from peer_authentication.check(value)
        case RequestAuthentication():
            yield from request_authentication.check(value)
        case AuthorizationPolicy():
            yield from authorization_policy.check(value)
        case Telemetry():
            yield from telemetry.check(value)
        case WasmPlugin():
            yield from wasm_plugin.check(value)
        case TrafficExtension():
            yield from traffic_extension.check(value)
        case _:
            assert_never(value)
