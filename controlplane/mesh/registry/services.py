"""Which services there are, and who sees them. What a namespace sees is shared by all that see the same."""

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
        case core.KubernetesService() as value:
            return (_from_service(value),)
        case service_entry.ServiceEntry() as value:
            return tuple(_from_entry(value, host) for host in value.spec.hosts)
        case _:
            return ()


@query
def service(db: Database, ref: ServiceRef) -> Service | None:
    """Return the service that ``ref`` names."""
    return next((each for each in declared_services(db, ref.key) if each.host == ref.host), None)


@query
def public_services(db: Database, namespace: str) -> tuple[ServiceRef, ...]:
    """Return the services that the objects of ``namespace`` declare for everyone."""
    keys = (key for kind in _KINDS for key in sorted(index(db, of_kind(kind, namespace))))
    return tuple(ServiceRef(each.host, key) for key in keys for each in declared_services(db, key) if EVERYONE in each.export_to)


@query
def service_namespaces(db: Database) -> tuple[str, ...]:
    """Return the namespaces that have a service, sorted."""
    return tuple(sorted({key.namespace for kind in _KINDS for key in index(db, namespaces_with(kind))}))


@query
def private_services(db: Database, namespace: str) -> tuple[ServiceRef, ...]:
    """Return the services that ``namespace`` sees and not everyone does."""
    keys = (key for kind in _KINDS for key in sorted(index(db, exported_to(kind, namespace))))
    return tuple(ServiceRef(each.host, key) for key in keys for each in declared_services(db, key) if EVERYONE not in each.export_to)


@query
def contested_namespaces(db: Database) -> frozenset[str]:
    """Return the namespaces that declare a host which another object declares too."""
    declarers: dict[str, list[Key]] = {}
    for namespace in service_namespaces(db):
        for ref in public_services(db, namespace):
            declarers.setdefault(ref.host, []).append(ref.key)
    return frozenset(key.namespace for keys in declarers.values() if len(keys) > 1 for key in keys)


def client_namespace_for_services(db: Database, namespace: str) -> str:
    """Return whom to ask ``visible`` for on behalf of ``namespace``: ``PUBLIC`` where it sees what everyone sees."""
    return namespace if private_services(db, namespace) or namespace in contested_namespaces(db) else PUBLIC


@query
def visible_services(db: Database, client_namespace: str) -> tuple[ServiceRef, ...]:
    """Return what ``client_namespace`` (a namespace, or ``PUBLIC``) sees: one service a host, sorted by host.

    Of several for a host its own namespace's wins, then a Service over a ServiceEntry, then the oldest.
    """
    found: dict[str, list[ServiceRef]] = {}
    for namespace in service_namespaces(db):
        for ref in public_services(db, namespace):
            found.setdefault(ref.host, []).append(ref)
    if client_namespace != PUBLIC:
        for ref in private_services(db, client_namespace):
            found.setdefault(ref.host, []).append(ref)
    return tuple(refs[0] if len(refs) == 1 else _first(db, refs, client_namespace) for _, refs in sorted(found.items()))


@query
def declarers(db: Database, host: str) -> tuple[Key, ...]:
    """Return the objects that declare ``host``, sorted."""
    return tuple(sorted(key for kind in _KINDS for key in index(db, about_host(kind, host))))


@query
def find_service(db: Database, host: str, client_namespace: str) -> ServiceRef | None:
    """Return the service that ``client_namespace`` gets for ``host``: the exact host, else the narrowest wildcard that covers it."""
    for pattern in host_patterns(host):
        refs = [ServiceRef(pattern, key) for key in declarers(db, pattern)]
        seen = [ref for ref in refs if (known := service(db, ref)) and is_exported(known.export_to, client_namespace)]
        if seen:
            return _first(db, seen, client_namespace)
    return None


def is_exported(export_to: Iterable[str], namespace: str) -> bool:
    """Return whether ``export_to`` lets ``namespace`` see it."""
    return EVERYONE in export_to or namespace in export_to


def host_patterns(host: str) -> tuple[str, ...]:
    """Return ``host`` and the wildcards that cover it, narrowest first."""
    labels = host.removeprefix("*.").split(".")
    first = 1 if host.startswith("*.") else 0
    parents = ("*." + ".".join(labels[at:]) for at in range(1 - first, len(labels)))
    return tuple(dict.fromkeys((host, *parents, "*")))


def _first(db: Database, refs: Iterable[ServiceRef], client_namespace: str) -> ServiceRef:
    def rank(ref: ServiceRef) -> tuple[bool, bool, str, Key]:
        known = service(db, ref)
        return (ref.key.namespace != client_namespace, ref.key.group_kind != SERVICE, known.created if known else "", ref.key)

    return min(refs, key=rank)


def _from_service(value: core.KubernetesService) -> Service:
    spec = value.spec
    external_name = spec.external_name if spec.type == "ExternalName" else ""
    addresses = tuple(each for each in spec.cluster_ips or (spec.cluster_ip,) if each and each != "None")
    headless = "None" in (spec.cluster_ip, *spec.cluster_ips)
    return Service(
        host=service_host(value.key.name, value.key.namespace),
        namespace=value.key.namespace,
        name=value.key.name,
        ports=tuple(
            ServicePort(port.port, port.name, protocol_of(port.port, port.name, port.app_protocol, port.protocol)) for port in spec.ports
        ),
        addresses=addresses,
        resolution=Resolution.DNS if external_name else Resolution.ENDPOINTS,
        external=bool(external_name),
        headless=headless,
        export_to=exports_of(value),
        created=value.meta.created,
        key=value.key,
    )


def _from_entry(value: service_entry.ServiceEntry, host: str) -> Service:
    spec = value.spec
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
        namespace=value.key.namespace,
        name=value.key.name,
        ports=tuple(ServicePort(port.number, port.name, protocol_of(port.number, "", port.protocol.lower(), "TCP")) for port in spec.ports),
        addresses=tuple(spec.addresses),
        resolution=resolution,
        external=spec.location != "MESH_INTERNAL",
        identities=tuple(sorted(spec.subject_alt_names)),
        registry="External",
        export_to=exports_of(value),
        created=value.meta.created,
        key=value.key,
    )
