"""Facets: what objects are looked up by, besides their keys. Each is a key of the index, whose value is the keys of the objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controlplane.mesh.gateway_bindings import all_matches, gateways_of
from controlplane.mesh.shards import CLUSTER_DOMAIN, Facet, domain_facets
from controlplane.model.hosts import resolve_short_name
from controlplane.model.keys import GroupKind
from controlplane.objects.kinds import MeshObject
from controlplane.objects.kubernetes.core import EndpointSlice, KubernetesService, Pod
from controlplane.objects.networking.destination_rule import DestinationRule
from controlplane.objects.networking.fault_side import faults_at_callee
from controlplane.objects.networking.service_entry import ServiceEntry, WorkloadEntry
from controlplane.objects.networking.virtual_service import VirtualService

EVERYONE = "*"
NO_ONE = "~"
EXTERNAL_NAMES: Facet = ("external-names",)  # of every Service that is another name
SERVICE_NAME_LABEL = "kubernetes.io/service-name"


def of_kind(kind: GroupKind, namespace: str) -> Facet:
    """Return the facet of every object of ``kind`` in ``namespace``."""
    return ("kind", *kind, namespace)


def namespaces_with(kind: GroupKind) -> Facet:
    """Return the facet whose keys, with empty names, are the namespaces that have a ``kind``."""
    return ("namespaces", *kind)


def about_host(kind: GroupKind, host: str) -> Facet:
    """Return the facet of every object of ``kind`` that is about ``host``, a fully qualified name or a wildcard."""
    return ("host", *kind, host)


def selecting(namespace: str, name: str, value: str) -> Facet:
    """Return the facet of the Services and ServiceEntries of ``namespace`` whose selector's first label is ``name``: ``value``."""
    return ("selecting", namespace, name, value)


def slices_of(namespace: str, service: str) -> Facet:
    """Return the facet of the EndpointSlices of ``service``."""
    return ("slices", namespace, service)


def labelled(kind: GroupKind, namespace: str, name: str, value: str) -> Facet:
    """Return the facet of every ``kind`` in ``namespace`` with the label ``name``: ``value``."""
    return ("label", *kind, namespace, name, value)


def pod_at(namespace: str, address: str) -> Facet:
    """Return the facet of the pods of ``namespace`` that have the IP ``address``."""
    return ("pod-ip", namespace, address)


def entry_at(namespace: str, address: str) -> Facet:
    """Return the facet of the WorkloadEntries of ``namespace`` at ``address``."""
    return ("entry-ip", namespace, address)


def serving_at(namespace: str, address: str) -> Facet:
    """Return the facet of the EndpointSlices and ServiceEntries of ``namespace`` that list the endpoint ``address``."""
    return ("endpoint-ip", namespace, address)


def exported_to(kind: GroupKind, namespace: str) -> Facet:
    """Return the facet of every ``kind`` that is exported to ``namespace`` by name, not to everyone."""
    return ("exported", *kind, namespace)


def by_source_labels(kind: GroupKind) -> Facet:
    """Return the facet of every ``kind`` whose meaning may depend on the labels of the client's proxy."""
    return ("by-source", *kind)


def faulted_at_callee(host: str) -> Facet:
    """Return the facet of every VirtualService whose faults the instances of ``host`` make, to which it leads."""
    return ("faulted", host)


def delegating_to(namespace: str, name: str) -> Facet:
    """Return the facet of every VirtualService that leaves routes to the VirtualService ``name`` of ``namespace``."""
    return ("delegating", namespace, name)


def bound_to(gateway: str) -> Facet:
    """Return the facet of every VirtualService that is bound to ``gateway``, ``namespace/name``."""
    return ("bound", gateway)


def resolved_exports(names: Iterable[str], namespace: str) -> tuple[str, ...]:
    """Return ``names`` of an ``exportTo`` written in ``namespace``, with ``.`` resolved; none means everyone."""
    return tuple(sorted({namespace if name == "." else name for written in names if (name := written.strip())})) or (EVERYONE,)


def exports_of(obj: MeshObject) -> tuple[str, ...]:
    """Return the namespaces that may see ``obj``; ``*`` is everyone, ``~`` no one."""
    match obj:
        case KubernetesService():
            return resolved_exports(obj.meta.annotations.get("networking.istio.io/exportTo", "").split(","), obj.key.namespace)
        case ServiceEntry() | VirtualService() | DestinationRule():
            return resolved_exports(obj.spec.export_to, obj.key.namespace)
        case _:
            return (EVERYONE,)


def service_host(name: str, namespace: str) -> str:
    """Return the fully qualified name of the Kubernetes Service ``name``."""
    return f"{name}.{namespace}.svc.{CLUSTER_DOMAIN}"


def qualified_host(host: str, namespace: str) -> str:
    """Return ``host`` as written in an object of ``namespace`` as a fully qualified name."""
    return resolve_short_name(host, namespace, CLUSTER_DOMAIN)


def _other_names(kubernetes_service: KubernetesService) -> tuple[Facet, ...]:
    return (EXTERNAL_NAMES,) if kubernetes_service.spec.type == "ExternalName" else ()


def _selecting(namespace: str, selector: Mapping[str, str]) -> tuple[Facet, ...]:
    return (selecting(namespace, *min(selector.items())),) if selector else ()


def facets_of(obj: MeshObject | None) -> frozenset[Facet]:
    """Return the facets that list ``obj``, none where there is no such object."""
    if obj is None:
        return frozenset()
    key, kind = obj.key, obj.key.group_kind
    facets = {of_kind(kind, key.namespace)}
    facets.update(exported_to(kind, namespace) for namespace in exports_of(obj) if namespace not in (EVERYONE, NO_ONE))
    if _looks_at_clients(obj):
        facets.add(by_source_labels(kind))
    match obj:
        case KubernetesService():
            host = service_host(key.name, key.namespace)
            facets |= {about_host(kind, host), *_other_names(obj), *_selecting(key.namespace, obj.spec.selector)}
            facets.update(domain_facets([host], vips=obj.addresses, wildcard=obj.headless))
        case ServiceEntry():
            facets.update(about_host(kind, host) for host in obj.spec.hosts)
            facets.update(domain_facets(obj.spec.hosts, vips=obj.spec.addresses))
            facets.update(_selecting(key.namespace, obj.spec.workload_selector.labels if obj.spec.workload_selector else {}))
            facets.update(serving_at(key.namespace, endpoint.address) for endpoint in obj.spec.endpoints)
        case VirtualService():
            hosts = [qualified_host(host, key.namespace) for host in obj.spec.hosts]
            facets |= {*(about_host(kind, host) for host in hosts), *domain_facets(hosts)}
            facets.update(bound_to(gateway) for gateway in gateways_of(obj))
            facets.update(_faulted(obj))
            delegates = [http.delegate for http in obj.spec.http if http.delegate]
            facets.update(delegating_to(delegate.namespace or key.namespace, delegate.name) for delegate in delegates)
        case DestinationRule():
            facets.add(about_host(kind, qualified_host(obj.spec.host, key.namespace)))
        case EndpointSlice():
            facets.add(slices_of(key.namespace, obj.meta.labels.get(SERVICE_NAME_LABEL, "")))
            facets.update(serving_at(key.namespace, endpoint.addresses[0]) for endpoint in obj.endpoints if endpoint.addresses)
        case Pod():
            facets.update(pod_at(key.namespace, address) for address in obj.ips)
            facets.update(labelled(kind, key.namespace, name, label) for name, label in obj.meta.labels.items())
        case WorkloadEntry():
            facets.add(entry_at(key.namespace, obj.spec.address))
            facets.update(labelled(kind, key.namespace, name, label) for name, label in obj.spec.labels.items())
        case _:
            pass
    return frozenset(facets)


def _faulted(virtual_service: VirtualService) -> Iterable[Facet]:
    routes = virtual_service.spec.http if faults_at_callee(virtual_service) else ()
    hosts = (each.destination.host for http in routes if http.fault for each in http.route)
    return {faulted_at_callee(qualified_host(host, virtual_service.key.namespace)) for host in hosts}


def _looks_at_clients(obj: MeshObject) -> bool:
    """Return whether the meaning of ``obj`` depends on the labels of the client's proxy."""
    match obj:
        case VirtualService():
            delegates = any(http.delegate for http in obj.spec.http)  # their matches count too
            return delegates or any(match.source_labels for match in all_matches(obj.spec))
        case DestinationRule():
            return obj.spec.workload_selector is not None
        case _:
            return False
