"""Which services there are, and which namespaces see them. Namespaces that see the same share the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from controlplane.incremental.database import Database, eager_query, query
from controlplane.mesh.facets import EVERYONE, EXTERNAL_NAMES, NO_ONE, about_host, exported_to, exports_of, namespaces_with, service_host
from controlplane.mesh.inputs import index, objects, shards
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.shards import SHARDED, Shard, declared_twice_in, in_shard, shard_of
from controlplane.model.keys import SERVICE, SERVICE_ENTRY, Key
from controlplane.model.protocols import Protocol, protocol_of
from controlplane.model.services import Resolution, Service, ServicePort
from controlplane.objects.kubernetes import core
from controlplane.objects.networking import service_entry

PUBLIC = ""  # the client namespace of what every namespace sees alike
_KINDS = (SERVICE, SERVICE_ENTRY)


class ServiceRef(NamedTuple):
    """A service: its host, and the object that declares it (one ServiceEntry may declare many hosts)."""

    host: str
    key: Key
    hidden: tuple[int, ...] = ()  # ports that another object declares for the same host and that are its


@eager_query
def declared_services(db: Database, key: Key) -> tuple[Service, ...]:
    """Return the services that the object ``key`` declares, one a host."""
    match objects(db, key):
        case core.KubernetesService() as kubernetes_service:
            return (_service_of_kubernetes(kubernetes_service),)
        case service_entry.ServiceEntry() as entry:
            return tuple(_service_of_entry(entry, host) for host in dict.fromkeys(entry.spec.hosts))
        case _:
            return ()


@query
def service(db: Database, ref: ServiceRef) -> Service | None:
    """Return the service that ``ref`` names, without the ports that are another object's."""
    found = next((declared for declared in declared_services(db, ref.key) if declared.host == ref.host), None)
    if found is None or not ref.hidden:
        return found
    return replace(found, ports=tuple(port for port in found.ports if port.number not in ref.hidden))


@query
def private_services(db: Database, namespace: str) -> tuple[ServiceRef, ...]:
    """Return the services that ``namespace`` sees and not everyone does."""
    keys = (key for kind in _KINDS for key in sorted(index(db, exported_to(kind, namespace))))
    return tuple(
        ServiceRef(declared.host, key) for key in keys for declared in declared_services(db, key) if EVERYONE not in declared.export_to
    )


def client_namespace_for_services(db: Database, namespace: str) -> str:
    """Return the client namespace by which to look up services for ``namespace``: ``PUBLIC`` where it sees what everyone sees."""
    return namespace if private_services(db, namespace) or index(db, declared_twice_in(namespace)) else PUBLIC


@query
def all_shards(db: Database) -> tuple[Shard, ...]:
    """Return the shards of all namespaces that have a service or a VirtualService."""
    namespaces = {key.namespace for kind in SHARDED for key in index(db, namespaces_with(kind))}
    return tuple(shard for namespace in sorted(namespaces) for shard in shards_of_namespace(db, namespace))


def shards_of_namespace(db: Database, namespace: str) -> tuple[Shard, ...]:
    """Return the shards of ``namespace``."""
    of = shards(db, namespace)
    return tuple(Shard(namespace, number, of) for number in range(of))


def shard_of_object(db: Database, key: Key) -> Shard:
    """Return the shard of the object ``key``, which is there."""
    return shard_of(key, shards(db, key.namespace) or 1)


@query
def visible_services(db: Database, client_namespace: str, shard: Shard) -> tuple[ServiceRef, ...]:
    """Return what ``client_namespace`` (a namespace, or ``PUBLIC``) sees of ``shard``, sorted, without other names of services.

    Of several objects for a host each adds the ports that none before it has: its own namespace's first, then a Service, then the oldest,
    and what was found in a registry last.
    """
    external = index(db, EXTERNAL_NAMES)
    visible: list[ServiceRef] = []
    for key in sorted(key for kind in _KINDS for key in index(db, in_shard(kind, shard))):
        for declared in declared_services(db, key):
            if is_exported(declared.export_to, client_namespace):
                refs = _counting_refs(db, declared.host, key, client_namespace)
                if refs[0].key not in external or resolved_host(db, declared.host, client_namespace) == declared.host:
                    visible.extend(ref for ref in refs if ref.key == key)
    return tuple(sorted(visible))


def _counting_refs(db: Database, host: str, key: Key, client_namespace: str) -> tuple[ServiceRef, ...]:
    """Return the services named ``host`` that ``client_namespace`` sees, which ``key``, one that is visible, declares perhaps alone."""
    declared = sum(len(index(db, about_host(kind, host))) for kind in _KINDS)
    return services_named(db, host, client_namespace) if declared > 1 else (ServiceRef(host, key),)


@query
def declarers(db: Database, host: str) -> tuple[Key, ...]:
    """Return the objects that declare ``host``, sorted."""
    return tuple(sorted(key for kind in _KINDS for key in index(db, about_host(kind, host))))


@query
def host_owner(db: Database, host: str) -> str | None:
    """Return the namespace that ``host`` is of: that of its Service, else of the oldest object for it or its narrowest wildcard."""
    for pattern in host_patterns(host):
        if keys := declarers(db, pattern):
            return min(keys, key=lambda key: (key.group_kind != SERVICE, _seniority(db, key), key)).namespace
    return None


def is_foreign(db: Database, namespace: str, host: str) -> bool:
    """Return whether ``host`` is not of ``namespace``, and routes of that for it hold for no others' clients in this mesh."""
    settings = mesh_settings(db)
    return not settings.foreign_routes and namespace not in (settings.root_namespace, host_owner(db, host))


def own_clients(export_to: Iterable[str], namespace: str) -> tuple[str, ...]:
    """Return those that ``export_to`` lets see it of ``namespace`` alone."""
    return (namespace if is_exported(export_to, namespace) else NO_ONE,)


def _seniority(db: Database, key: Key) -> tuple[bool, str]:
    """Return what sorts the older object first, and what was found in a registry last."""
    return next(((declared.found, declared.created) for declared in declared_services(db, key)), (False, ""))


@query
def services_named(db: Database, host: str, client_namespace: str) -> tuple[ServiceRef, ...]:
    """Return the services whose host is ``host`` itself and that ``client_namespace`` sees: the one that counts, then what adds ports."""
    refs = [ServiceRef(host, key) for key in declarers(db, host)]
    visible = [ref for ref in refs if (mesh_service := service(db, ref)) and is_exported(mesh_service.export_to, client_namespace)]
    return tuple(_by_rank(db, visible, client_namespace))


@query
def find_services(db: Database, host: str, client_namespace: str) -> tuple[ServiceRef, ...]:
    """Return the services that ``client_namespace`` gets for ``host``: the exact host, else the narrowest wildcard that covers it.

    First the one that counts, then those that add ports to it; for another name of a service that service's.
    """
    for pattern in host_patterns(host):
        if refs := services_named(db, pattern, client_namespace):
            resolved = resolved_host(db, pattern, client_namespace) if refs[0].key in index(db, EXTERNAL_NAMES) else pattern
            return refs if resolved == pattern else services_named(db, resolved, client_namespace) if resolved else ()
    return ()


def find_service(db: Database, host: str, client_namespace: str) -> ServiceRef | None:
    """Return the service that counts for ``host`` and ``client_namespace``."""
    return next(iter(find_services(db, host, client_namespace)), None)


def service_ports(db: Database, refs: Iterable[ServiceRef]) -> Mapping[int, ServiceRef]:
    """Return the ports of the services ``refs`` to which clusters lead, each with the one that has it."""
    services = ((ref, mesh_service) for ref in refs if (mesh_service := service(db, ref)))
    return {port.number: ref for ref, mesh_service in services for port in mesh_service.ports if port.protocol != Protocol.UDP}


@query
def resolved_host(db: Database, host: str, client_namespace: str) -> str | None:
    """Return the host that ``host``, of a Service of type ExternalName, is another name of: its own where DNS has to be asked.

    ``None``: the names lead round in a circle.
    """
    passed = {host}
    while refs := services_named(db, host, client_namespace):
        mesh_service = service(db, refs[0])
        other_name = mesh_service.other_name if mesh_service else ""
        if not other_name or not services_named(db, other_name, client_namespace):
            return host
        if other_name in passed:
            return None
        passed.add(other_name)
        host = other_name
    return host


@query
def other_names(db: Database, client_namespace: str) -> Mapping[str, tuple[ServiceRef, ...]]:
    """Return the Services of type ExternalName that ``client_namespace`` sees as other names of services, by the hosts of these."""
    by_host: dict[str, list[ServiceRef]] = {}
    for key in sorted(index(db, EXTERNAL_NAMES)):
        host = service_host(key.name, key.namespace)
        named = services_named(db, host, client_namespace)
        resolved = resolved_host(db, host, client_namespace) if named and named[0].key == key else None
        if resolved not in (None, host):
            by_host.setdefault(resolved, []).append(named[0])
    return {host: tuple(refs) for host, refs in by_host.items()}


def is_exported(export_to: Iterable[str], namespace: str) -> bool:
    """Return whether ``export_to`` lets ``namespace`` see it."""
    return EVERYONE in export_to or namespace in export_to


def host_patterns(host: str) -> tuple[str, ...]:
    """Return ``host`` and the wildcards that cover it, narrowest first."""
    labels = host.removeprefix("*.").split(".")
    first = 1 if host.startswith("*.") else 0
    parents = ("*." + ".".join(labels[position:]) for position in range(1 - first, len(labels)))
    return tuple(dict.fromkeys((host, *parents, "*")))


def _by_rank(db: Database, refs: Iterable[ServiceRef], client_namespace: str) -> list[ServiceRef]:
    """Return ``refs``, all of one host, the one that counts first, and after it those with ports that none before them has."""

    def rank(ref: ServiceRef) -> tuple[bool, bool, bool, str, Key]:
        found, created = _seniority(db, ref.key)
        return (found, found or ref.key.namespace != client_namespace, ref.key.group_kind != SERVICE, created, ref.key)

    by_rank: list[ServiceRef] = []
    taken: set[int] = set()
    for ref in sorted(refs, key=rank):
        mesh_service = service(db, ref)
        numbers = {port.number for port in mesh_service.ports} if mesh_service else set()
        if not by_rank or numbers - taken:
            by_rank.append(ref._replace(hidden=tuple(sorted(numbers & taken))))
        taken |= numbers
    return by_rank


def _service_of_kubernetes(kubernetes_service: core.KubernetesService) -> Service:
    spec = kubernetes_service.spec
    external_name = spec.external_name if spec.type == "ExternalName" else ""
    return Service(
        host=service_host(kubernetes_service.key.name, kubernetes_service.key.namespace),
        namespace=kubernetes_service.key.namespace,
        name=kubernetes_service.key.name,
        ports=tuple(
            ServicePort(number, port.name, protocol_of(number, port.name, port.app_protocol, port.protocol))
            for number, port in kubernetes_service.ports.items()
        ),
        addresses=kubernetes_service.addresses,
        resolution=Resolution.DNS if external_name else Resolution.ENDPOINTS,
        external=bool(external_name),
        other_name=external_name.rstrip("."),
        headless=kubernetes_service.headless,
        export_to=exports_of(kubernetes_service),
        created=kubernetes_service.meta.seniority,
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
        registry=entry.registry if isinstance(entry, service_entry.RegistryServiceEntry) else "External",
        found=isinstance(entry, service_entry.RegistryServiceEntry),
        export_to=exports_of(entry),
        created=entry.meta.seniority,
        key=entry.key,
    )
