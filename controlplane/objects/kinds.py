"""The kinds of objects that are read, and which class and rules each has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from controlplane.model.keys import EXTENSIONS, GATEWAY_API, NETWORKING, SECURITY, TELEMETRY
from controlplane.objects.extensions.rules import telemetry, traffic_extension, wasm_plugin
from controlplane.objects.extensions.telemetry import Telemetry, TelemetrySpec
from controlplane.objects.extensions.traffic_extension import TrafficExtension, TrafficExtensionSpec
from controlplane.objects.extensions.wasm_plugin import WasmPlugin, WasmPluginSpec
from controlplane.objects.kubernetes import rules
from controlplane.objects.kubernetes.core import EndpointSlice, KubernetesService, Namespace, Node, Pod, ServiceAccount
from controlplane.objects.kubernetes.secrets import ConfigMap, Secret
from controlplane.objects.mesh.mesh_config import MeshConfig
from controlplane.objects.networking.destination_rule import DestinationRule, DestinationRuleSpec
from controlplane.objects.networking.envoy_filter import EnvoyFilter, EnvoyFilterSpec
from controlplane.objects.networking.gateway import Gateway, GatewaySpec
from controlplane.objects.networking.proxy_config import ProxyConfig, ProxyConfigSpec
from controlplane.objects.networking.rules import (
    destination_rule,
    envoy_filter,
    gateway,
    proxy_config,
    service_entry,
    sidecar,
    virtual_service,
    workload_group,
)
from controlplane.objects.networking.service_entry import ServiceEntry, ServiceEntrySpec, WorkloadEntry, WorkloadSpec
from controlplane.objects.networking.sidecar import Sidecar, SidecarSpec
from controlplane.objects.networking.virtual_service import VirtualService, VirtualServiceSpec
from controlplane.objects.networking.workload_group import WorkloadGroup, WorkloadGroupSpec
from controlplane.objects.security.authorization_policy import AuthorizationPolicy, AuthorizationPolicySpec
from controlplane.objects.security.peer_authentication import PeerAuthentication, PeerAuthenticationSpec
from controlplane.objects.security.request_authentication import RequestAuthentication, RequestAuthenticationSpec
from controlplane.objects.security.rules import authorization_policy, peer_authentication, request_authentication
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.scalars import Model

Policy: TypeAlias = PeerAuthentication | RequestAuthentication | AuthorizationPolicy | Telemetry | WasmPlugin | TrafficExtension
Edge: TypeAlias = Gateway | WorkloadGroup | EnvoyFilter | ProxyConfig
MeshObject: TypeAlias = (
    KubernetesService
    | EndpointSlice
    | Pod
    | Namespace
    | Node
    | ServiceAccount
    | MeshConfig
    | VirtualService
    | DestinationRule
    | ServiceEntry
    | WorkloadEntry
    | Sidecar
    | Edge
    | Policy
)
CredentialObject: TypeAlias = Secret | ConfigMap  # where credentials are looked up; of no use to anybody else
Object: TypeAlias = MeshObject | CredentialObject

# Groups whose other kinds mean something that we do not do yet, which is worth a warning.
UNSUPPORTED_KIND_GROUPS = (NETWORKING, SECURITY, TELEMETRY, EXTENSIONS, GATEWAY_API)
_VERSIONS = ("v1", "v1beta1", "v1alpha3")


@dataclass(frozen=True, slots=True)
class Kind:
    """How objects of one kind are read; ``spec`` only where unknown fields of it are told, ``unsupported`` if they have no effect yet."""

    model: type[Object]
    versions: tuple[str, ...] = _VERSIONS
    spec: type[Model] | None = None
    unsupported: bool = False


KINDS: Mapping[tuple[str, str], Kind] = {
    ("", "Service"): Kind(KubernetesService, ("v1",)),
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
    (NETWORKING, "EnvoyFilter"): Kind(EnvoyFilter, ("v1alpha3",), EnvoyFilterSpec, unsupported=True),
    (NETWORKING, "ProxyConfig"): Kind(ProxyConfig, ("v1beta1",), ProxyConfigSpec, unsupported=True),
    (SECURITY, "PeerAuthentication"): Kind(PeerAuthentication, ("v1", "v1beta1"), PeerAuthenticationSpec),
    (SECURITY, "RequestAuthentication"): Kind(RequestAuthentication, ("v1", "v1beta1"), RequestAuthenticationSpec),
    (SECURITY, "AuthorizationPolicy"): Kind(AuthorizationPolicy, ("v1", "v1beta1"), AuthorizationPolicySpec),
    (TELEMETRY, "Telemetry"): Kind(Telemetry, ("v1", "v1alpha1"), TelemetrySpec, unsupported=True),
    (EXTENSIONS, "WasmPlugin"): Kind(WasmPlugin, ("v1alpha1",), WasmPluginSpec, unsupported=True),
    (EXTENSIONS, "TrafficExtension"): Kind(TrafficExtension, ("v1alpha1",), TrafficExtensionSpec, unsupported=True),
}


def check_object(value: Object) -> Iterator[Finding]:
    """Yield what is wrong with ``value`` beyond the types of its fields."""
    match value:
        case EndpointSlice() | KubernetesService() | Pod():
            yield from _check_core(value)
        case VirtualService():
            yield from virtual_service.check(value)
        case DestinationRule():
            yield from destination_rule.check(value)
        case ServiceEntry():
            yield from service_entry.check(value)
        case WorkloadEntry():
            yield from service_entry.check_workload_entry(value)
        case Sidecar():
            yield from sidecar.check(value)
        case Namespace() | Node() | ServiceAccount() | Secret() | ConfigMap() | MeshConfig():
            return
        case Gateway() | WorkloadGroup() | EnvoyFilter() | ProxyConfig():
            yield from _check_edge(value)
        case _:
            yield from _check_policy(value)


def _check_core(value: EndpointSlice | KubernetesService | Pod) -> Iterator[Finding]:
    match value:
        case EndpointSlice():
            yield from rules.check_slice(value)
        case KubernetesService():
            yield from rules.check_service(value)
        case Pod():
            yield from rules.check_pod(value)
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
