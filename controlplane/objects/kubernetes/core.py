"""The kinds of Kubernetes itself, as far as they matter; what else they have is not read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from controlplane.model.keys import ENDPOINT_SLICE, NAMESPACE, NODE, POD, SERVICE, SERVICE_ACCOUNT, GroupKind
from controlplane.model.proxies import PROXY_CONTAINER
from controlplane.model.telemetry.workloads import workload_of_pod
from controlplane.objects.types.metadata import KubernetesObject, OwnerReference
from controlplane.objects.types.scalars import EMPTY_MAP, MAX_PORT, Bool, Host, Long, Model, Port, Text, TextMap, Texts

_TOPOLOGY = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")


def _port_or_name(value: object) -> int | str:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_PORT):
        return value
    raise PydanticCustomError("port_range", "expected a port from 1 to 65535, or the name of one")


class KubernetesServicePort(Model):
    """A port of a Service; ``target_port`` is a number, or the name of a container's port."""

    name: Text = ""
    port: Port
    protocol: Text = "TCP"
    app_protocol: Text | None = None
    target_port: Annotated[int | str, PlainValidator(_port_or_name)] | None = None


class KubernetesServiceSpec(Model):
    """What a Service names and selects."""

    type: Text = "ClusterIP"
    ports: tuple[KubernetesServicePort, ...] = ()
    selector: TextMap = EMPTY_MAP
    cluster_ip: Text = Field(default="", alias="clusterIP")
    cluster_ips: Texts = Field(default=(), alias="clusterIPs")
    external_name: Host = ""
    publish_not_ready_addresses: Bool = False
    internal_traffic_policy: Text = ""
    traffic_distribution: Text = ""


class KubernetesService(KubernetesObject):
    """A name for a set of pods."""

    group_kind: ClassVar[GroupKind] = SERVICE

    spec: KubernetesServiceSpec = KubernetesServiceSpec()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the cluster IPs; a headless Service has none."""
        return tuple(address for address in self.spec.cluster_ips or (self.spec.cluster_ip,) if address and address != "None")

    @property
    def headless(self) -> bool:
        """Return whether its pods are addressed themselves."""
        return "None" in (self.spec.cluster_ip, *self.spec.cluster_ips)

    @cached_property
    def ports(self) -> Mapping[int, KubernetesServicePort]:
        """Return the ports by number: of several with one number the one for TCP, as with DNS; of several for TCP the first."""
        by_number: dict[int, KubernetesServicePort] = {}
        for port in sorted(self.spec.ports, key=lambda port: port.protocol != "TCP"):
            by_number.setdefault(port.port, port)
        return {port.port: port for port in self.spec.ports if by_number[port.port] is port}


class EndpointConditions(Model):
    """Whether an endpoint may be used: what is not said counts as ready, serving, and not terminating.

    https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions
    """

    ready: Bool | None = None
    serving: Bool | None = None
    terminating: Bool | None = None


class TargetRef(Model):
    """The object behind an endpoint."""

    kind: Text = ""
    name: Text = ""


class SliceEndpoint(Model):
    """One endpoint of an EndpointSlice."""

    addresses: Texts = ()
    conditions: EndpointConditions | None = None
    target_ref: TargetRef | None = None
    node_name: Text = ""
    hostname: Text = ""

    @property
    def ready(self) -> bool:
        """Return whether the endpoint may be used."""
        return self.conditions is None or self.conditions.ready is not False

    @property
    def last_resort(self) -> bool:
        """Return whether the endpoint is going and still serves: it is used where none is ready."""
        conditions = self.conditions
        return conditions is not None and conditions.terminating is True and conditions.serving is not False

    @property
    def pod(self) -> str:
        """Return the name of the pod behind the endpoint; empty where there is none."""
        return self.target_ref.name if self.target_ref and self.target_ref.kind == "Pod" else ""


class SlicePort(Model):
    """A port that every endpoint of the slice has."""

    name: Text = ""
    port: Port | None = None


class EndpointSlice(KubernetesObject):
    """A part of the endpoints of a Service."""

    group_kind: ClassVar[GroupKind] = ENDPOINT_SLICE

    address_type: Text = "IPv4"
    ports: tuple[SlicePort, ...] = ()
    endpoints: tuple[SliceEndpoint, ...] = ()


class ContainerPort(Model):
    """A named port of a container."""

    name: Text = ""
    container_port: Port


class SecurityContext(Model):
    """As whom a container runs."""

    run_as_user: Long | None = None


class NamedContainer(Model):
    """A container, for whether it is the proxy."""

    name: Text = ""
    security_context: SecurityContext | None = None


class Container(NamedContainer):
    """A container of an application, for its ports."""

    ports: tuple[ContainerPort, ...] = ()


class PodSpec(Model):
    """What a pod runs, for its ports and its proxy."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[NamedContainer, ...] = ()
    security_context: SecurityContext | None = None
    host_network: Bool = False
    node_name: Text = ""
    service_account_name: Text = ""
    hostname: Text = ""
    subdomain: Text = ""


class PodIP(Model):
    """An address of a pod."""

    ip: Text = ""


class PodCondition(Model):
    """One condition of a pod."""

    type: Text = ""
    status: Text = ""


class PodStatus(Model):
    """Where a pod is, and whether it is ready."""

    phase: Literal["", "Pending", "Running", "Succeeded", "Failed", "Unknown"] = ""
    pod_ip: Text = Field(default="", alias="podIP")
    pod_ips: tuple[PodIP, ...] = Field(default=(), alias="podIPs")
    conditions: tuple[PodCondition, ...] = ()


class Pod(KubernetesObject):
    """One instance of a workload."""

    group_kind: ClassVar[GroupKind] = POD

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @cached_property
    def ips(self) -> tuple[str, ...]:
        """Return the pod's addresses."""
        others = (pod_ip.ip for pod_ip in self.status.pod_ips)
        return tuple(dict.fromkeys(address for address in (self.status.pod_ip, *others) if address))

    @property
    def workload(self) -> str:
        """Return the name of what the pod is a part of."""
        owner = next((owner for owner in self.meta.owners if owner.controller), OwnerReference())
        return workload_of_pod((owner.kind, owner.name), self.meta.name, self.meta.labels)

    @property
    def ended(self) -> bool:
        """Return whether the pod will never run again."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def serving(self) -> bool:
        """Return whether the pod runs (one written by hand says nothing) and does not say that it is not ready; it may be going."""
        conditions = {condition.type: condition.status for condition in self.status.conditions}
        return self.status.phase in ("", "Running") and conditions.get("Ready", "True") == "True"

    @property
    def proxy_container(self) -> NamedContainer | None:
        """Return the container that is its proxy, if it has one."""
        found = (container for container in (*self.spec.containers, *self.spec.init_containers) if container.name == PROXY_CONTAINER)
        return next(found, None)

    @property
    def terminating(self) -> bool:
        """Return whether the pod is being deleted."""
        return bool(self.meta.deleted)

    @cached_property
    def ports(self) -> Mapping[str, int]:
        """Return the named ports of the pod's containers."""
        return {port.name: port.container_port for container in self.spec.containers for port in container.ports if port.name}


class Namespace(KubernetesObject):
    """A namespace, for its labels."""

    group_kind: ClassVar[GroupKind] = NAMESPACE


class Node(KubernetesObject):
    """A machine, for where it stands."""

    group_kind: ClassVar[GroupKind] = NODE

    @cached_property
    def locality(self) -> str:
        """Return ``region/zone/subzone``, without the parts at its end that no label gives.

        https://kubernetes.io/docs/reference/labels-annotations-taints/#topologykubernetesioregion
        """
        return "/".join(self.meta.labels.get(label, "") for label in _TOPOLOGY).rstrip("/")


class ServiceAccount(KubernetesObject):
    """The identity of workloads."""

    group_kind: ClassVar[GroupKind] = SERVICE_ACCOUNT
