"""The kinds of objects that are read: which class, rules and versions each has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from controlplane.model.keys import GroupKind
from controlplane.objects.drills import rules as drill_rules
from controlplane.objects.drills.drill import Drill, DrillSpec
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
from controlplane.objects.security.rate_limit import ClosedRateLimit, RateLimit, RateLimitSpec
from controlplane.objects.security.request_authentication import RequestAuthentication, RequestAuthenticationSpec
from controlplane.objects.security.rules import authorization_policy, peer_authentication, rate_limit, request_authentication
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.scalars import Model

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
    | Gateway
    | WorkloadGroup
    | EnvoyFilter
    | ProxyConfig
    | PeerAuthentication
    | RequestAuthentication
    | AuthorizationPolicy
    | RateLimit
    | ClosedRateLimit
    | Telemetry
    | WasmPlugin
    | TrafficExtension
    | Drill
)
CredentialObject: TypeAlias = Secret | ConfigMap  # where credentials are looked up; of no use to anybody else
Object: TypeAlias = MeshObject | CredentialObject

_VERSIONS = ("v1", "v1beta1", "v1alpha3")
_V1 = ("v1",)
_V1_BETA1 = ("v1", "v1beta1")


T = TypeVar("T", bound=Object)


@dataclass(frozen=True, slots=True)
class Kind:
    """How objects of one kind are read.

    ``read`` makes one of its document, or raises ValidationError; ``check`` yields what is wrong with it beyond the types of its fields.
    ``spec`` is there where unknown fields of it are reported.
    """

    group_kind: GroupKind
    read: Callable[[Mapping[str, object]], Object]
    check: Callable[[Object], Iterable[Finding]]
    versions: tuple[str, ...]
    spec: type[Model] | None


def _kind(
    model: type[T],
    check: Callable[[T], Iterable[Finding]],
    versions: tuple[str, ...] = _VERSIONS,
    spec: type[Model] | None = None,
) -> Kind:
    """Return the kind whose objects are of class ``model`` and keep to ``check``."""

    def check_object(item: Object) -> Iterable[Finding]:
        return check(item) if isinstance(item, model) else ()

    return Kind(model.group_kind, model.model_validate, check_object, versions, spec)


def _no_rules(_: Object) -> Iterable[Finding]:
    return ()


KINDS: Mapping[GroupKind, Kind] = {
    kind.group_kind: kind
    for kind in (
        _kind(KubernetesService, rules.check_service, _V1),
        _kind(Pod, rules.check_pod, _V1),
        _kind(Namespace, rules.check_namespace, _V1),
        _kind(Node, _no_rules, _V1),
        _kind(ServiceAccount, _no_rules, _V1),
        _kind(Secret, _no_rules, _V1),
        _kind(ConfigMap, _no_rules, _V1),
        _kind(EndpointSlice, rules.check_slice, _V1_BETA1),
        _kind(VirtualService, virtual_service.check, spec=VirtualServiceSpec),
        _kind(DestinationRule, destination_rule.check, spec=DestinationRuleSpec),
        _kind(ServiceEntry, service_entry.check, spec=ServiceEntrySpec),
        _kind(WorkloadEntry, service_entry.check_workload_entry, spec=WorkloadSpec),
        _kind(Sidecar, sidecar.check, spec=SidecarSpec),
        _kind(Gateway, gateway.check, spec=GatewaySpec),
        _kind(WorkloadGroup, workload_group.check, spec=WorkloadGroupSpec),
        _kind(EnvoyFilter, envoy_filter.check, ("v1alpha3",), EnvoyFilterSpec),
        _kind(ProxyConfig, proxy_config.check, ("v1beta1",), ProxyConfigSpec),
        _kind(PeerAuthentication, peer_authentication.check, _V1_BETA1, PeerAuthenticationSpec),
        _kind(RequestAuthentication, request_authentication.check, _V1_BETA1, RequestAuthenticationSpec),
        _kind(AuthorizationPolicy, authorization_policy.check, _V1_BETA1, AuthorizationPolicySpec),
        _kind(RateLimit, rate_limit.check, ("v1alpha1",), RateLimitSpec),
        _kind(Telemetry, telemetry.check, ("v1", "v1alpha1"), TelemetrySpec),
        _kind(WasmPlugin, wasm_plugin.check, ("v1alpha1",), WasmPluginSpec),
        _kind(Drill, drill_rules.check, ("v1alpha1",), DrillSpec),
        _kind(TrafficExtension, traffic_extension.check, ("v1alpha1",), TrafficExtensionSpec),
    )
}
