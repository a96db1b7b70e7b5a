"""Who is asked by AuthorizationPolicies that are CUSTOM, and the clusters that lead there.

Whoever has such a policy has these clusters, whatever its Sidecar imports. They have names of their own (``authorizer|PORT||HOST``), as
those of the same service may come with everything else that a proxy sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.destinations.clusters import Target, assignment, cluster
from controlplane.mesh.destinations.destination_rules import seer_of_rules
from controlplane.mesh.inputs import objects
from controlplane.mesh.publish.parts import Leaf
from controlplane.mesh.registry.mesh_settings import provider, settings
from controlplane.mesh.registry.services import PUBLIC, Ref, declarers, find, service
from controlplane.model.keys import Key
from controlplane.model.protocols import Protocol
from controlplane.model.services import Resolution
from controlplane.objects.security.authorization_policy import AuthorizationPolicy
from controlplane.translate.access import Asked

_USE = "authorizer"


class Found(NamedTuple):
    """An authorizer, and the service that it is."""

    asked: Asked
    ref: Ref


@query
def authorizer(db: Database, name: str) -> Found | None:
    """Return the authorizer that the settings of the mesh call ``name``, ``None`` where there is none, or no such service."""
    given = provider(db, name)
    if given is None or given.authorizer is None:
        return None
    namespace, _, host = given.authorizer.service.rpartition("/")
    ref = _service(db, host, namespace)
    known = service(db, ref) if ref else None
    port = known.port(given.authorizer.port) if known else None
    if ref is None or port is None or port.protocol is Protocol.UDP:
        return None
    target = Target(ref, port.number, "", PUBLIC, _USE)
    return Found(Asked(name=name, host=host, cluster=target.name, authorizer=given.authorizer), ref)


@query
def provider_of(db: Database, key: Key) -> str | None:
    """Return the name of the provider that the AuthorizationPolicy ``key`` asks, ``None`` where it asks nobody."""
    value = objects(db, key)
    if not isinstance(value, AuthorizationPolicy) or value.spec.action != "CUSTOM":
        return None
    return value.spec.provider.name if value.spec.provider else None


def clusters_to(db: Database, found: Found, namespace: str, *, identified: bool) -> Iterator[Leaf]:
    """Yield the cluster that leads to the authorizer ``found`` from ``namespace``, and its endpoints where these come from us."""
    ref, asked = found.ref, found.asked
    target = Target(ref, asked.authorizer.port, "", seer_of_rules(db, ref, namespace), _USE)
    yield Leaf(cluster, (target, identified))
    known = service(db, ref)
    if known and known.resolution is Resolution.ENDPOINTS:
        yield Leaf(assignment, (target,))


def _service(db: Database, host: str, namespace: str) -> Ref | None:
    """Return the service ``host``, of ``namespace`` if that is said: the mesh's settings may name it whoever it is exported to."""
    declared = [key for key in declarers(db, host) if namespace in ("", key.namespace)]
    seen = find(db, host, settings(db).root_namespace)
    if seen and seen.key in declared:
        return Ref(host, seen.key)
    return Ref(host, declared[0]) if declared else None
