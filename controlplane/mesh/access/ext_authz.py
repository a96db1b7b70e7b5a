"""The external authorizers of CUSTOM AuthorizationPolicies, and the clusters that lead to them.

A proxy with such a policy has these clusters, whatever its Sidecar imports. They have names of their own (``authorizer|PORT||HOST``), as
the proxy may have other clusters of the same service.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.incremental.database import Database, eager_query, query
from controlplane.ir.access import ExternalAuthorizer
from controlplane.mesh.access.istio_access import external_authorizer
from controlplane.mesh.destinations.clusters import ClusterTarget, endpoint_assignment, outbound_cluster
from controlplane.mesh.destinations.destination_rules import EVERY_CLIENT, rule_client
from controlplane.mesh.inputs import objects
from controlplane.mesh.publish.parts import ResourcePart
from controlplane.mesh.registry.mesh_settings import extension_provider, mesh_settings
from controlplane.mesh.registry.services import ServiceRef, declarers, find_services, service, service_ports
from controlplane.model.keys import Key
from controlplane.model.protocols import Protocol
from controlplane.model.services import Labels, Resolution
from controlplane.objects.security.authorization_policy import AuthorizationPolicy

_USE = "authorizer"


class ResolvedAuthorizer(NamedTuple):
    """An authorizer, and its service."""

    authorizer: ExternalAuthorizer
    ref: ServiceRef


@query
def resolved_authorizer(db: Database, name: str) -> ResolvedAuthorizer | None:
    """Return the authorizer that the settings of the mesh call ``name``, ``None`` where there is none, or no such service."""
    provider = extension_provider(db, name)
    if provider is None or provider.authorizer is None:
        return None
    namespace, _, host = provider.authorizer.service.rpartition("/")
    ref = _authorizer_service(db, host, namespace, provider.authorizer.port)
    mesh_service = service(db, ref) if ref else None
    port = mesh_service.port(provider.authorizer.port) if mesh_service else None
    if ref is None or port is None or port.protocol is Protocol.UDP:
        return None
    target = ClusterTarget(ref, port.number, "", EVERY_CLIENT, _USE)
    return ResolvedAuthorizer(external_authorizer(name, host, target.name, provider.authorizer), ref)


@eager_query
def provider_name(db: Database, key: Key) -> str | None:
    """Return the name of the provider that the AuthorizationPolicy ``key`` refers to, ``None`` where it refers to none."""
    policy = objects(db, key)
    if not isinstance(policy, AuthorizationPolicy) or policy.spec.action != "CUSTOM":
        return None
    return policy.spec.provider.name if policy.spec.provider else None


def authorizer_clusters(
    db: Database, resolved: ResolvedAuthorizer, namespace: str, labels: Labels, *, identified: bool
) -> Iterator[ResourcePart]:
    """Yield the cluster that leads to the authorizer ``resolved`` from a proxy of ``namespace`` with ``labels``.

    Its endpoints come with it where they come from us.
    """
    ref = resolved.ref
    target = ClusterTarget(ref, resolved.authorizer.port, "", rule_client(db, ref, namespace, labels), _USE)
    yield ResourcePart(outbound_cluster, (target, identified))
    mesh_service = service(db, ref)
    if mesh_service and mesh_service.resolution is Resolution.ENDPOINTS:
        yield ResourcePart(endpoint_assignment, (target,))


def _authorizer_service(db: Database, host: str, namespace: str, port: int) -> ServiceRef | None:
    """Return the service ``host`` that has ``port``, of ``namespace`` if given: the mesh's settings may name it whatever its exportTo."""
    declared = [key for key in declarers(db, host) if namespace in ("", key.namespace)]
    visible = find_services(db, host, mesh_settings(db).root_namespace)
    usable = [
        ref for ref in visible if ref.key in declared or (declared and ref.host != host)
    ]  # another host: the one it is another name of
    if found := service_ports(db, usable).get(port):
        return found
    return ServiceRef(host, declared[0]) if declared else None
