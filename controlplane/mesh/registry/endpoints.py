"""The endpoints of a service: from EndpointSlices, from WorkloadEntries, from Pods, or written into a ServiceEntry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.inputs import index, labelled, objects, of_kind, plaintext_addresses, pod_at, slices_of
from controlplane.mesh.registry.peer_authentication import peer_policies
from controlplane.mesh.registry.services import ServiceRef
from controlplane.model.endpoint_policy import endpoint_error
from controlplane.model.keys import NODE, POD, WORKLOAD_ENTRY, GroupKind, Key
from controlplane.model.peer_authentication import MutualTLSMode
from controlplane.model.services import Endpoint, Labels
from controlplane.objects.kubernetes.core import EndpointSlice, KubernetesService, Node, Pod, SliceEndpoint
from controlplane.objects.networking.service_entry import ServiceEntry, WorkloadEntry, WorkloadSpec

PEER_LABEL = ("security.istio.io/tlsMode", "istio")  # of a workload whose proxy takes mutual TLS


class WorkloadInstance(NamedTuple):
    """What a pod says of itself: its labels, sorted, its locality, and the service account that it runs as."""

    labels: Labels = ()
    locality: str = ""
    account: str = ""


@query
def endpoints(db: Database, ref: ServiceRef, port: int) -> tuple[Endpoint, ...]:
    """Return the endpoints of ``port`` of the service ``ref`` that are ready and may be sent to, sorted by address."""
    match objects(db, ref.key):
        case KubernetesService() as value:
            found = _of_service(db, value, port)
        case ServiceEntry() as value:
            found = _of_entry(db, value, port, ref.host)
        case _:
            return ()
    reachable = (each for each in dict.fromkeys(found) if endpoint_error(each.address, each.port) is None)
    secured = (_secured(db, ref.key.namespace, each) for each in reachable)
    return tuple(sorted(secured, key=lambda each: (each.address, each.port)))


def _secured(db: Database, namespace: str, each: Endpoint) -> Endpoint:
    """Return ``each`` as one that is spoken to by mutual TLS where its workload says it can, and nothing says that it is not to."""
    if PEER_LABEL not in each.labels or plaintext_addresses(db, (namespace, each.address)):
        return each
    return replace(each, mutual_tls=peer_policies(db, namespace, each.labels).on_port(each.port) is not MutualTLSMode.DISABLE)


@query
def subset_endpoints(db: Database, ref: ServiceRef, port: int, labels: Labels) -> tuple[Endpoint, ...]:
    """Return the endpoints of ``port`` of ``ref`` that have ``labels``."""
    wanted = set(labels)
    return tuple(each for each in endpoints(db, ref, port) if wanted.issubset(each.labels))


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


def _of_service(db: Database, value: KubernetesService, port: int) -> Iterator[Endpoint]:
    spec = value.spec
    declared = next((each for each in spec.ports if each.port == port), None)
    if declared is None or spec.type == "ExternalName":
        if declared is not None:
            yield Endpoint(address=spec.external_name, port=port)
        return
    namespace = value.key.namespace
    slices = sorted(index(db, slices_of(namespace, value.key.name)))
    for key in slices:
        part = objects(db, key)
        if isinstance(part, EndpointSlice):
            yield from _of_slice(db, part, declared.name)
    numeric = declared.target_port if isinstance(declared.target_port, int) and declared.target_port else port
    yield from _of_entries(db, namespace, spec.selector, declared.name, numeric)
    if not slices:
        yield from _of_pods(db, namespace, spec.selector, declared.target_port, port)


def _of_entries(db: Database, namespace: str, selector: Mapping[str, str], port_name: str, number: int) -> Iterator[Endpoint]:
    for key in selected_workloads(db, WORKLOAD_ENTRY, namespace, selector):
        entry = objects(db, key)
        if isinstance(entry, WorkloadEntry) and entry.healthy:
            yield _of_workload(entry.spec, entry.meta.labels, port_name, number)


def _of_pods(db: Database, namespace: str, selector: Mapping[str, str], target: int | str | None, port: int) -> Iterator[Endpoint]:
    for key in selected_workloads(db, POD, namespace, selector):
        pod = objects(db, key)
        if isinstance(pod, Pod) and pod.ready and pod.ips and (number := target_port(pod, target, port)) is not None:
            of = workload_instance(db, key) or WorkloadInstance()
            yield Endpoint(address=pod.ips[0], port=number, labels=of.labels, locality=of.locality, account=of.account)


def _of_slice(db: Database, part: EndpointSlice, port_name: str) -> Iterator[Endpoint]:
    number = next((each.port for each in part.ports if each.name == port_name), None)
    if number is None:
        return
    for each in part.endpoints:
        if each.ready and each.addresses:
            of = _instance(db, part.key.namespace, each)
            yield Endpoint(address=each.addresses[0], port=number, labels=of.labels, locality=of.locality, account=of.account)


def _instance(db: Database, namespace: str, each: SliceEndpoint) -> WorkloadInstance:
    """Return what is known of the instance behind an endpoint: by its pod, else where its node stands."""
    if index(db, of_kind(POD, namespace)):
        keys: Iterable[Key] = (POD.key(namespace, each.pod),) if each.pod else sorted(index(db, pod_at(namespace, each.addresses[0])))
        if found := next((known for key in keys if (known := workload_instance(db, key))), None):
            return found
    return WorkloadInstance((), _node_locality(db, each.node_name))


@query
def workload_instance(db: Database, key: Key) -> WorkloadInstance | None:
    """Return what the pod ``key`` says of itself; where it runs, its own label may say, else those of its node do.

    https://istio.io/latest/docs/tasks/traffic-management/locality-load-balancing/ names the labels.
    """
    pod = objects(db, key)
    if not isinstance(pod, Pod):
        return None
    said = pod.meta.labels.get("istio-locality", "").replace(".", "/")
    locality = said or _node_locality(db, pod.spec.node_name)
    return WorkloadInstance(tuple(sorted(pod.meta.labels.items())), locality, pod.spec.service_account_name or "default")


def _node_locality(db: Database, name: str) -> str:
    return node_locality(db, name) if name and index(db, of_kind(NODE, "")) else ""


@query
def node_locality(db: Database, name: str) -> str:
    """Return where the node ``name`` stands, nothing if that is not known."""
    node = objects(db, NODE.key("", name))
    return node.locality if isinstance(node, Node) else ""


def _of_entry(db: Database, value: ServiceEntry, port: int, host: str) -> Iterator[Endpoint]:
    spec = value.spec
    declared = next((each for each in spec.ports if each.number == port), None)
    if declared is None:
        return
    number = declared.target_port or port
    for each in spec.endpoints:
        yield _of_workload(each, {}, declared.name, number)
    if spec.workload_selector is not None:
        namespace = value.key.namespace
        yield from _of_entries(db, namespace, spec.workload_selector.labels, declared.name, number)
        yield from _of_pods(db, namespace, spec.workload_selector.labels, number, port)
    elif not spec.endpoints and spec.resolution in ("DNS", "DNS_ROUND_ROBIN"):
        yield Endpoint(address=host, port=number)


def _of_workload(spec: WorkloadSpec, labels: Mapping[str, str], port_name: str, number: int) -> Endpoint:
    return Endpoint(
        address=spec.address,
        port=0 if spec.address.startswith("unix://") else spec.ports.get(port_name, number),
        weight=spec.weight or 1,
        labels=tuple(sorted({**labels, **spec.labels}.items())),
        locality=spec.locality,
        account=spec.service_account,
    )
