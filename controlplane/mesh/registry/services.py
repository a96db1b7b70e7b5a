"""Which services there are, and which namespaces see them. Namespaces that see the same share the result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.inputs import EVERYONE, about_host, exported_to, exports_of, index, namespaces_with, objects, of_kind, service_host
from controlplane.model.keys import SERVICE, SERVICE_ENTRY, Key
from controlplane.model.protocols import protocol_of
from controlplane.model.services import Resolution, Service, ServicePort
from controlplane.objects.kubernetes import core
from controlplane.objects.networking import service_entry

PUBLIC = ""  # the client namespace of what every namespace sees alike
_KINDS = (SERVICE, SERVICE_ENTRY)


class ServiceRef(NamedTuple):
    """A service: its host, and the object that declares it (one ServiceEntry may declare many hosts)."""

    host: str
    key: Key


@query
def declared_services(db: Database, key: Key) -> tuple[Service, ...]:
    """Return the services that the object ``key`` declares, one a host."""
    match objects(db, key):
        case core.KubernetesService() as kubernetes_service:
            return (_service_of_kubernetes(kubernetes_service),)
        case service_entry.ServiceEntry() as entry:
            return tuple(_service_of_entry(entry, host) for host in entry.spec.hosts)
        case _:
            return ()


@query
def service(db: Database, ref: ServiceRef) -> Service | None:
    """Return the service that ``ref`` names."""
    return next((declared for declared in declared_services(db, ref.key) if declared.host == ref.host), None)


@query
def public_services(db: Database, namespace: str) -> tuple[ServiceRef, ...]:
    """Return the services that the objects of ``namespace`` declare for everyone."""
    keys = (key for kind in _KINDS for key in sorted(index(db, of_kind(kind, namespace))))
    return tuple(
        ServiceRef(declared.host, key) for key in keys for declared in declared_services(db, key) if EVERYONE in declared.export_to
    )


@query
def service_namespaces(db: Database) -> tuple[str, ...]:
    """Return the namespaces that have a service, sorted."""
    return tuple(sorted({key.namespace for kind in _KINDS for key in index(db, namespaces_with(kind))}))


@query
def private_services(db: Database, namespace: str) -> tuple[ServiceRef, ...]:
    """Return the services that ``namespace`` sees and not everyone does."""
    keys = (key for kind in _KINDS for key in sorted(index(db, exported_to(kind, namespace))))
    return tuple(
        ServiceRef(declared.host, key) for key in keys for declared in declared_services(db, key) if EVERYONE not in declared.export_to
    )


@query
def contested_namespaces(db: Database) -> frozenset[str]:
    """Return the namespaces that declare a host which another object declares too."""
    declarers: dict[str, list[Key]] = {}
    for namespace in service_namespaces(db):
        for ref in public_services(db, namespace):
            declarers.setdefault(ref.host, []).append(ref.key)
    return frozenset(key.namespace for keys in declarers.values() if len(keys) > 1 for key in keys)


def client_namespace_for_services(db: Database, namespace: str) -> str:
    """Return the client namespace by which to look up services for ``namespace``: ``PUBLIC`` where it sees what everyone sees."""
    return namespace if private_services(db, namespace) or namespace in contested_namespaces(db) else PUBLIC


@query
def visible_services(db: Database, client_namespace: str) -> tuple[ServiceRef, ...]:
    """Return what ``client_namespace`` (a namespace, or ``PUBLIC``) sees: one service a host, sorted by host.

    Of several for a host its own namespace's wins, then a Service over a ServiceEntry, then the oldest.
    """
    refs_by_host: dict[str, list[ServiceRef]] = {}
    for namespace in service_namespaces(db):
        for ref in public_services(db, namespace):
            refs_by_host.setdefault(ref.host, []).append(ref)
    if client_namespace != PUBLIC:
        for ref in private_services(db, client_namespace):
            refs_by_host.setdefault(ref.host, []).append(ref)
    return tuple(refs[0] if len(refs) == 1 else _preferred(db, refs, client_namespace) for _, refs in sorted(refs_by_host.items()))


@query
def declarers(db: Database, host: str) -> tuple[Key, ...]:
    """Return the objects that declare ``host``, sorted."""
    return tuple(sorted(key for kind in _KINDS for key in index(db, about_host(kind, host))))


@query
def find_service(db: Database, host: str, client_namespace: str) -> ServiceRef | None:
    """Return the service that ``client_namespace`` gets for ``host``: the exact host, else the narrowest wildcard that covers it."""
    for pattern in host_patterns(host):
        refs = [ServiceRef(pattern, key) for key in declarers(db, pattern)]
        visible = [ref for ref in refs if (mesh_service := service(db, ref)) and is_exported(mesh_service.export_to, client_namespace)]
        if visible:
            return _preferred(db, visible, client_namespace)
    return None


def is_exported(export_to: Iterable[str], namespace: str) -> bool:
    """Return whether ``export_to`` lets ``namespace`` see it."""
    return EVERYONE in export_to or namespace in export_to


def host_patterns(host: str) -> tuple[str, ...]:
    """Return ``host`` and the wildcards that cover it, narrowest first."""
    labels = host.removeprefix("*.").split(".")
    first = 1 if host.startswith("*.") else 0
    parents = ("*." + ".".join(labels[position:]) for position in range(1 - first, len(labels)))
    return tuple(dict.fromkeys((host, *parents, "*")))


def _preferred(db: Database, refs: Iterable[ServiceRef], client_namespace: str) -> ServiceRef:
    def rank(ref: ServiceRef) -> tuple[bool, bool, str, Key]:
        mesh_service = service(db, ref)
        return (ref.key.namespace != client_namespace, ref.key.group_kind != SERVICE, mesh_service.created if mesh_service else "", ref.key)

    return min(refs, key=rank)


def _service_of_kubernetes(kubernetes_service: core.KubernetesService) -> Service:
    spec = kubernetes_service.spec
    external_name = spec.external_name if spec.type == "ExternalName" else ""
    addresses = tuple(address for address in spec.cluster_ips or (spec.cluster_ip,) if address and address != "None")
    headless = "None" in (spec.cluster_ip, *spec.cluster_ips)
    return Service(
        host=service_host(kubernetes_service.key.name, kubernetes_service.key.namespace),
        namespace=kubernetes_service.key.namespace,
        name=kubernetes_service.key.name,
        ports=tuple(
            ServicePort(port.port, port.name, protocol_of(port.port, port.name, port.app_protocol, port.protocol)) for port in spec.ports
        ),
        addresses=addresses,
        resolution=Resolution.DNS if external_name else Resolution.ENDPOINTS,
        external=bool(external_name),
        headless=headless,
        export_to=exports_of(kubernetes_service),
        created=kubernetes_service.meta.created,
        key=kubernetes_service.key,
    )


def _service_of_entry(entry: service_entry.ServiceEntry, host: str) -> Service:
    spec = entry.spec
    match spec.resolution:
        case "STATIC":
            resolution = Resolution.ENDPOINTS
        case "DNS":
            resolution = Resolution.DNS
        case "DNS_ROUND_ROBIN":
            resolution = Resolution.DNS_ROUND_ROBIN
        case _:
            resolution = Resolution.PASSTHROUGH
    return Service(
        host=host,
        namespace=entry.key.namespace,
        name=entry.key.name,
        ports=tuple(ServicePort(port.number, port.name, protocol_of(port.number, "", port.protocol.lower(), "TCP")) for port in spec.ports),
        addresses=tuple(spec.addresses),
        resolution=resolution,
        external=spec.location != "MESH_INTERNAL",
        identities=tuple(sorted(spec.subject_alt_names)),
        registry="External",
        export_to=exports_of(entry),
        created=entry.meta.created,
        key=entry.key,
    )
