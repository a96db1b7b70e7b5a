"""ServiceEntry and WorkloadEntry.

https://istio.io/latest/docs/reference/config/networking/service-entry/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from controlplane.model.keys import SERVICE_ENTRY, WORKLOAD_ENTRY, GroupKind
from controlplane.model.telemetry.workloads import REGISTERED_BY, WORKLOAD_LABEL
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import EMPTY_MAP, Hosts, Map, Model, Port, Text, TextMap, Texts, UInt, Unsupported

# Istio's names: an annotation of entries whose health is checked, and the condition that says what came of it.
HEALTH_CHECKED = "proxy.istio.io/health-checks-enabled"
HEALTHY = "Healthy"


class ServiceEntryPort(Model):
    """A port of the service."""

    number: Port
    name: Annotated[Text, Field(max_length=256)]
    protocol: Annotated[Text, Field(max_length=256)] = ""
    target_port: Port | None = None


class WorkloadSpec(Model):
    """Where a workload outside Kubernetes listens."""

    address: Annotated[Text, Field(max_length=256)] = ""
    ports: Annotated[Map[Port], Field(max_length=128)] = EMPTY_MAP
    labels: Annotated[TextMap, Field(max_length=256)] = EMPTY_MAP
    network: Unsupported[Annotated[Text, Field(max_length=2048)]] = ""
    locality: Annotated[Text, Field(max_length=2048)] = ""
    weight: UInt = 0
    service_account: Annotated[Text, Field(max_length=253)] = ""


class WorkloadLabelSelector(Model):
    """Workloads by their labels."""

    labels: Annotated[Map[Annotated[Text, Field(max_length=63)]], Field(max_length=256)] = EMPTY_MAP


class ServiceEntrySpec(Model):
    """Hosts that are no Services of the cluster."""

    hosts: Annotated[Hosts, Field(min_length=1, max_length=256)]
    addresses: Annotated[tuple[Annotated[Text, Field(max_length=64)], ...], Field(max_length=256)] = ()
    ports: Annotated[tuple[ServiceEntryPort, ...], Field(max_length=256)] = ()
    location: Literal["MESH_EXTERNAL", "MESH_INTERNAL"] = "MESH_EXTERNAL"
    resolution: Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"] = "NONE"
    endpoints: Annotated[tuple[WorkloadSpec, ...], Field(max_length=4096)] = ()
    workload_selector: WorkloadLabelSelector | None = None
    export_to: Texts = ()
    subject_alt_names: Texts = ()


class ServiceEntry(KubernetesObject):
    """Hosts that are no Services of the cluster, as if they were."""

    group_kind: ClassVar[GroupKind] = SERVICE_ENTRY

    spec: ServiceEntrySpec


class RegistryServiceEntry(ServiceEntry):
    """A service of a registry outside Kubernetes, as the ServiceEntry that somebody would write for it.

    What somebody has written for its host counts before it. Its endpoints have the ports that they say, and no others.
    """

    registry: Text  # in words, as "Consul"


class WorkloadCondition(Model):
    """A condition in a status."""

    type: Text = ""
    status: Text = ""


def _health_conditions(conditions: tuple[WorkloadCondition, ...]) -> tuple[WorkloadCondition, ...]:
    """Return the one of ``conditions`` that is about health: the others change, and change nothing."""
    return tuple(condition for condition in conditions if condition.type == HEALTHY)


class WorkloadStatus(Model):
    """What was found out about a workload: of its conditions, whether it is healthy."""

    conditions: Annotated[tuple[WorkloadCondition, ...], AfterValidator(_health_conditions)] = ()


class WorkloadEntry(KubernetesObject):
    """A workload outside Kubernetes."""

    group_kind: ClassVar[GroupKind] = WORKLOAD_ENTRY

    spec: WorkloadSpec
    status: WorkloadStatus = WorkloadStatus()

    @property
    def workload(self) -> str:
        """Return the name of what it is an instance of: of the group that it has registered itself by, or as labelled, or its own."""
        meta = self.meta
        return meta.annotations.get(REGISTERED_BY) or meta.labels.get(WORKLOAD_LABEL) or self.spec.labels.get(WORKLOAD_LABEL) or meta.name

    @property
    def healthy(self) -> bool:
        """Return whether it may be sent requests: if its health is checked, only once a check has succeeded."""
        checked = self.meta.annotations.get(HEALTH_CHECKED) == "true"
        return not checked or any(condition.status == "True" for condition in self.status.conditions)
