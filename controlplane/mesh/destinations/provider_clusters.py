"""The services that the mesh's settings name as providers, and the clusters that lead to them.

A proxy that needs such a provider has its cluster, whatever its Sidecar imports. The clusters have names of their own, which say what they
are for (``USE|PORT||HOST``), as the proxy may have other clusters of the same service.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database, query
from controlplane.mesh.destinations.clusters import ClusterTarget, endpoint_assignment, outbound_cluster
from controlplane.mesh.destinations.destination_rules import EVERY_CLIENT, rule_client
from controlplane.mesh.publish.parts import ResourcePart
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import ServiceRef, declarers, find_services, service, service_ports
from controlplane.model.protocols import Protocol
from controlplane.model.services import Labels, Resolution


@query
def provider_target(db: Database, written: str, number: int, use: str) -> ClusterTarget | None:
    """Return port ``number`` of the service ``written``, ``HOST`` or ``NAMESPACE/HOST``, as what is needed for ``use``.

    ``None`` where there is no such service or port.
    """
    namespace, _, host = written.rpartition("/")
    ref = _provider_service(db, host, namespace, number)
    mesh_service = service(db, ref) if ref else None
    port = mesh_service.port(number) if mesh_service else None
    if ref is None or port is None or port.protocol is Protocol.UDP:
        return None
    return ClusterTarget(ref, port.number, "", EVERY_CLIENT, use)


def provider_clusters(db: Database, target: ClusterTarget, namespace: str, labels: Labels, *, identified: bool) -> Iterator[ResourcePart]:
    """Yield the cluster that leads to ``target`` from a proxy of ``namespace`` with ``labels``.

    Its endpoints come with it where they come from us.
    """
    own = target._replace(client=rule_client(db, target.ref, namespace, labels))
    yield ResourcePart(outbound_cluster, (own, identified))
    mesh_service = service(db, target.ref)
    if mesh_service and mesh_service.resolution is Resolution.ENDPOINTS:
        yield ResourcePart(endpoint_assignment, (own,))


def _provider_service(db: Database, host: str, namespace: str, port: int) -> ServiceRef | None:
    """Return the service ``host`` that has ``port``, of ``namespace`` if given: the mesh's settings may name it whatever its exportTo."""
    declared = [key for key in declarers(db, host) if namespace in ("", key.namespace)]
    visible = find_services(db, host, mesh_settings(db).root_namespace)
    usable = [
        ref for ref in visible if ref.key in declared or (declared and ref.host != host)
    ]  # another host: the one it is another name of
    if found := service_ports(db, usable).get(port):
        return found
    return ServiceRef(host, declared[0]) if declared else None
