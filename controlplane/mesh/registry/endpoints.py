"""The endpoints of a service: from EndpointSlices, from WorkloadEntries, from Pods, or written into a ServiceEntry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from controlplane.incremental.database import Database, eager_query, query
from controlplane.mesh.facets import labelled, of_kind, pod_at, slices_of
from controlplane.mesh.inputs import index, objects, plaintext_addresses
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.peer_authentication import peer_policies
from controlplane.mesh.registry.services import ServiceRef
from controlplane.model.endpoint_policy import endpoint_error
from controlplane.model.keys import NODE, POD, WORKLOAD_ENTRY, GroupKind, Key
from controlplane.model.peer_authentication import MutualTLSMode
from controlplane.model.services import Endpoint, Labels
from controlplane.objects.kubernetes.core import EndpointSlice, KubernetesService, Node, Pod, SliceEndpoint
from controlplane.objects.networking.service_entry import RegistryServiceEntry, ServiceEntry, WorkloadEntry, WorkloadSpec

PEER_LABEL = ("security.istio.io/tlsMode", "istio")  # of a workload whose proxy takes mutual TLS


class WorkloadInstance(NamedTuple):
    """What a pod declares: its labels, sorted, its locality, the service account that it runs as, and what it is a part of."""

    labels: Labels = ()
    locality: str = ""
    account: str = ""
    workload: str = ""


class Candidate(NamedTuple):
    """An endpoint, and whether it is ready: one that is not is going and still serves."""

    endpoint: Endpoint
    ready: bool = True


class NamedEndpoint(NamedTuple):
    """An endpoint with a name of its own, below that of its service, and its address."""

    hostname: str
    address: str


class _PodPort(NamedTuple):
    """Which port of pods a port of a service, ``number``, leads to: its ``target``, a number or a name, else the same."""

    target: int | str | None
    number: int


@query
def endpoints(db: Database, ref: ServiceRef, port: int) -> tuple[Endpoint, ...]:
    """Return the endpoints of ``port`` of the service ``ref`` that may be sent to, sorted by address.

    As with kube-proxy, those are the ready ones, or where none is ready, those that are going and still serve:
    https://kubernetes.io/docs/concepts/services-networking/service/#traffic-to-terminating-endpoints
    """
    match objects(db, ref.key):
        case KubernetesService() as kubernetes_service:
            candidates = tuple(_kubernetes_service_endpoints(db, kubernetes_service, port))
        case ServiceEntry() as service_entry:
            candidates = tuple(_service_entry_endpoints(db, service_entry, port, ref.host))
        case _:
            return ()
    some_are_ready = any(candidate.ready for candidate in candidates)
    usable = dict.fromkeys(candidate.endpoint for candidate in candidates if candidate.ready is some_are_ready)
    sockets = mesh_settings(db).socket_endpoints
    reachable = (endpoint for endpoint in usable if endpoint_error(endpoint.address, endpoint.port, sockets=sockets) is None)
    secured = (_with_mutual_tls(db, ref.key.namespace, endpoint) for endpoint in reachable)
    return tuple(sorted(secured, key=lambda endpoint: (endpoint.address, endpoint.port)))


@query
def named_endpoints(db: Database, ref: ServiceRef, port: int) -> tuple[NamedEndpoint, ...]:
    """Return the endpoints of ``port`` of ``ref`` that DNS has a name of their own for, as it has for the pods of a StatefulSet."""
    named = (NamedEndpoint(endpoint.hostname, endpoint.address) for endpoint in endpoints(db, ref, port) if endpoint.hostname)
    return tuple({endpoint.hostname: endpoint for endpoint in sorted(named, reverse=True)}.values())


def _with_mutual_tls(db: Database, namespace: str, endpoint: Endpoint) -> Endpoint:
    """Return ``endpoint`` as one that takes mutual TLS where its workload's label says it can and no policy disables it."""
    if PEER_LABEL not in endpoint.labels or plaintext_addresses(db, (namespace, endpoint.address)):
        return endpoint
    return replace(endpoint, mutual_tls=peer_policies(db, namespace, endpoint.labels).on_port(endpoint.port) is not MutualTLSMode.DISABLE)


@query
def subset_endpoints(db: Database, ref: ServiceRef, port: int, labels: Labels) -> tuple[Endpoint, ...]:
    """Return the endpoints of ``port`` of ``ref`` that have ``labels``."""
    wanted = set(labels)
    return tuple(endpoint for endpoint in endpoints(db, ref, port) if wanted.issubset(endpoint.labels))


def selected_workloads(db: Database, kind: GroupKind, namespace: str, selector: Mapping[str, str]) -> list[Key]:
    """Return the keys of every ``kind`` in ``namespace`` with all labels of ``selector``, sorted; an empty selector selects none."""
    if not selector:
        return []
    sets = [index(db, labelled(kind, namespace, name, value)) for name, value in sorted(selector.items())]
    return sorted(frozenset.intersection(*sets))


def target_port(pod: Pod, target: int | str | None, port: int) -> int | None:
    """Return the number that ``target`` (a number, a name, or nothing) of a service's ``port`` has at ``pod``."""
    if isinstance(target, int):
        return target or port
    return pod.ports.get(target) if target else port


def _kubernetes_service_endpoints(db: Database, kubernetes_service: KubernetesService, port: int) -> Iterator[Candidate]:
    spec = kubernetes_service.spec
    declared = kubernetes_service.ports.get(port)
    if declared is None or spec.type == "ExternalName":
        if declared is not None:
            yield Candidate(Endpoint(address=spec.external_name, port=port))
        return
    namespace = kubernetes_service.key.namespace
    slices = sorted(index(db, slices_of(namespace, kubernetes_service.key.name)))
    for key in slices:
        endpoint_slice = objects(db, key)
        if isinstance(endpoint_slice, EndpointSlice):
            yield from _slice_endpoints(db, endpoint_slice, declared.name)
    yield from _workload_entry_endpoints(db, namespace, spec.selector, declared.name, declared.target_port or port)
    if not slices:
        yield from _pod_endpoints(db, namespace, spec.selector, _PodPort(declared.target_port, port), kubernetes_service)


def _workload_entry_endpoints(
    db: Database, namespace: str, selector: Mapping[str, str], port_name: str, target: int | str
) -> Iterator[Candidate]:
    for key in selected_workloads(db, WORKLOAD_ENTRY, namespace, selector):
        entry = objects(db, key)
        if isinstance(entry, WorkloadEntry) and entry.healthy and (number := port_at(entry.spec, port_name, target)) is not None:
            yield Candidate(_workload_endpoint(entry.spec, entry.meta.labels, number, entry.workload))


def port_at(workload: WorkloadSpec, port_name: str, target: int | str) -> int | None:
    """Return the port of ``workload`` that the port ``port_name`` of a service leads to; ``None`` where it has none.

    Its own port of that name counts before the number ``target``; a ``target`` that is a name is one of its own, or none.
    """
    if isinstance(target, str):
        return workload.ports.get(target)
    return workload.ports.get(port_name, target)


def _pod_endpoints(
    db: Database, namespace: str, selector: Mapping[str, str], port: _PodPort, service: KubernetesService | None = None
) -> Iterator[Candidate]:
    """Yield the pods that ``selector`` selects; those that say that they are of ``service`` have a name of their own below it."""
    even_not_ready = service is not None and service.spec.publish_not_ready_addresses
    name = service.key.name if service else ""
    for key in selected_workloads(db, POD, namespace, selector):
        pod = objects(db, key)
        if not isinstance(pod, Pod) or not pod.ips or pod.ended or not (pod.serving or even_not_ready):
            continue
        if (number := target_port(pod, port.target, port.number)) is not None:
            instance = workload_instance(db, key) or WorkloadInstance()
            endpoint = Endpoint(
                address=pod.ips[0],
                port=number,
                labels=instance.labels,
                locality=instance.locality,
                account=instance.account,
                hostname=pod.spec.hostname if pod.spec.subdomain == name else "",
                workload=instance.workload,
            )
            yield Candidate(endpoint, ready=even_not_ready or not pod.terminating)


def _slice_endpoints(db: Database, endpoint_slice: EndpointSlice, port_name: str) -> Iterator[Candidate]:
    number = next((slice_port.port for slice_port in endpoint_slice.ports if slice_port.name == port_name), None)
    if number is None:
        return
    for slice_endpoint in endpoint_slice.endpoints:
        if (slice_endpoint.ready or slice_endpoint.last_resort) and slice_endpoint.addresses:
            instance = _instance_of(db, endpoint_slice.key.namespace, slice_endpoint)
            endpoint = Endpoint(
                address=slice_endpoint.addresses[0],
                port=number,
                labels=instance.labels,
                locality=instance.locality,
                account=instance.account,
                hostname=slice_endpoint.hostname,
                workload=instance.workload,
            )
            yield Candidate(endpoint, ready=slice_endpoint.ready)


def _instance_of(db: Database, namespace: str, slice_endpoint: SliceEndpoint) -> WorkloadInstance:
    """Return the instance behind ``slice_endpoint``: from its pod, else only the locality of its node."""
    if index(db, of_kind(POD, namespace)):
        keys: Iterable[Key] = (
            (POD.key(namespace, slice_endpoint.pod),)
            if slice_endpoint.pod
            else sorted(index(db, pod_at(namespace, slice_endpoint.addresses[0])))
        )
        if instance := next((candidate for key in keys if (candidate := workload_instance(db, key))), None):
            return instance
    return WorkloadInstance((), _node_locality(db, slice_endpoint.node_name))


@query
def workload_instance(db: Database, key: Key) -> WorkloadInstance | None:
    """Return what the pod ``key`` declares; its locality comes from its own label, else from those of its node.

    https://istio.io/latest/docs/tasks/traffic-management/locality-load-balancing/ names the labels.
    """
    pod = objects(db, key)
    if not isinstance(pod, Pod):
        return None
    locality_label = pod.meta.labels.get("istio-locality", "").replace(".", "/")
    locality = locality_label or _node_locality(db, pod.spec.node_name)
    return WorkloadInstance(tuple(sorted(pod.meta.labels.items())), locality, pod.spec.service_account_name or "default", pod.workload)


def _node_locality(db: Database, name: str) -> str:
    return node_locality(db, name) if name and index(db, of_kind(NODE, "")) else ""


@eager_query
def node_locality(db: Database, name: str) -> str:
    """Return the locality of the node ``name``, empty if it is not known."""
    node = objects(db, NODE.key("", name))
    return node.locality if isinstance(node, Node) else ""


def _service_entry_endpoints(db: Database, service_entry: ServiceEntry, port: int, host: str) -> Iterator[Candidate]:
    spec = service_entry.spec
    declared = next((service_port for service_port in spec.ports if service_port.number == port), None)
    if declared is None:
        return
    number = declared.target_port or port
    listed = isinstance(service_entry, RegistryServiceEntry)
    for endpoint in spec.endpoints:
        if not listed or declared.name in endpoint.ports:
            yield Candidate(_workload_endpoint(endpoint, {}, endpoint.ports.get(declared.name, number)))
    if spec.workload_selector is not None:
        namespace = service_entry.key.namespace
        yield from _workload_entry_endpoints(db, namespace, spec.workload_selector.labels, declared.name, number)
        yield from _pod_endpoints(db, namespace, spec.workload_selector.labels, _PodPort(number, port))
    elif not spec.endpoints and not listed and spec.resolution in ("DNS", "DNS_ROUND_ROBIN"):
        yield Candidate(Endpoint(address=host, port=number))


def _workload_endpoint(spec: WorkloadSpec, labels: Mapping[str, str], number: int, workload: str = "") -> Endpoint:
    return Endpoint(
        address=spec.address,
        port=0 if spec.address.startswith("unix://") else number,
        weight=spec.weight or 1,
        labels=tuple(sorted({**labels, **spec.labels}.items())),
        locality=spec.locality,
        account=spec.service_account,
        workload=workload,
    )
