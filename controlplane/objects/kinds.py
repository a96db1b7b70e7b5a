"""The kinds of objects that are read, and which class and rules each has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from controlplane.objects.core import EndpointSlice, Namespace, Pod, Service, ServiceAccount
from controlplane.objects.destination_rule import DestinationRule, DestinationRuleSpec
from controlplane.objects.mesh_config import MeshConfig
from controlplane.objects.review import Finding
from controlplane.objects.rules import core, destination_rule, service_entry, sidecar, virtual_service
from controlplane.objects.scalars import Model
from controlplane.objects.service_entry import ServiceEntry, ServiceEntrySpec, WorkloadEntry, WorkloadSpec
from controlplane.objects.sidecar import Sidecar, SidecarSpec
from controlplane.objects.virtual_service import VirtualService, VirtualServiceSpec

Object: TypeAlias = (
    Service
    | EndpointSlice
    | Pod
    | Namespace
    | ServiceAccount
    | MeshConfig
    | VirtualService
    | DestinationRule
    | ServiceEntry
    | WorkloadEntry
    | Sidecar
)

NETWORKING = "networking.istio.io"
SECURITY = "security.istio.io"
# Groups whose other kinds mean something that we do not do yet, which is worth a warning.
TRANSLATED_LATER = (NETWORKING, SECURITY, "telemetry.istio.io", "extensions.istio.io", "gateway.networking.k8s.io")
_VERSIONS = ("v1", "v1beta1", "v1alpha3")


@dataclass(frozen=True, slots=True)
class Kind:
    """How objects of one kind are read; ``spec`` only where unknown fields of it are told."""

    model: type[Object]
    versions: tuple[str, ...] = _VERSIONS
    spec: type[Model] | None = None


KINDS: Mapping[tuple[str, str], Kind] = {
    ("", "Service"): Kind(Service, ("v1",)),
    ("", "Pod"): Kind(Pod, ("v1",)),
    ("", "Namespace"): Kind(Namespace, ("v1",)),
    ("", "ServiceAccount"): Kind(ServiceAccount, ("v1",)),
    ("discovery.k8s.io", "EndpointSlice"): Kind(EndpointSlice, ("v1", "v1beta1")),
    (NETWORKING, "VirtualService"): Kind(VirtualService, spec=VirtualServiceSpec),
    (NETWORKING, "DestinationRule"): Kind(DestinationRule, spec=DestinationRuleSpec),
    (NETWORKING, "ServiceEntry"): Kind(ServiceEntry, spec=ServiceEntrySpec),
    (NETWORKING, "WorkloadEntry"): Kind(WorkloadEntry, spec=WorkloadSpec),
    (NETWORKING, "Sidecar"): Kind(Sidecar, spec=SidecarSpec),
}


def check(value: Object) -> Iterator[Finding]:
    """Yield what is wrong with ``value`` beyond the types of its fields."""
    match value:
        case EndpointSlice():
            yield from core.check_slice(value)
        case Service():
            yield from core.check_service(value)
        case Pod():
            yield from core.check_pod(value)
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
        case Namespace() | ServiceAccount() | MeshConfig():
            return
        case _:
            assert_never(value)
