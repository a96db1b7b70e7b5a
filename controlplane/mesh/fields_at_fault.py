"""Whose fault it is that an Envoy refuses a resource: which object, of those that it was made from, and which field.

An Envoy says what it does not like in words of its own, and these often repeat what a user wrote: the field whose value they contain is
the one. Where they do not, what has changed last is to blame, of the kind that says most about such a resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel

from controlplane.envoy.type_urls import CDS, ECDS, EDS, LDS, RATE_LIMIT_CONFIG, RDS, VHDS
from controlplane.incremental.database import Database, query
from controlplane.mesh.facets import service_host
from controlplane.mesh.inputs import objects
from controlplane.mesh.routing.virtual_services import destinations, virtual_service_head
from controlplane.mesh.shards import CLUSTER_DOMAIN
from controlplane.model.hosts import resolve_short_name
from controlplane.model.keys import (
    AUTHORIZATION_POLICY,
    DESTINATION_RULE,
    ENDPOINT_SLICE,
    GATEWAY,
    PEER_AUTHENTICATION,
    POD,
    RATE_LIMIT,
    REQUEST_AUTHENTICATION,
    SERVICE,
    SERVICE_ENTRY,
    SIDECAR,
    TRAFFIC_EXTENSION,
    VIRTUAL_SERVICE,
    WASM_PLUGIN,
    WORKLOAD_ENTRY,
    GroupKind,
    Key,
)
from controlplane.model.problems import FieldAtFault
from controlplane.objects.kinds import MeshObject
from controlplane.objects.kubernetes.core import KubernetesService
from controlplane.objects.networking.destination_rule import DestinationRule
from controlplane.objects.networking.service_entry import ServiceEntry
from controlplane.objects.networking.virtual_service import VirtualService

_KINDS: Mapping[str, Sequence[GroupKind]] = {
    LDS: (
        *(GATEWAY, VIRTUAL_SERVICE, AUTHORIZATION_POLICY, RATE_LIMIT, REQUEST_AUTHENTICATION, PEER_AUTHENTICATION, SIDECAR),
        *(SERVICE_ENTRY, SERVICE, POD),
    ),
    CDS: (DESTINATION_RULE, SERVICE_ENTRY, SERVICE, GATEWAY, SIDECAR, POD),
    EDS: (SERVICE_ENTRY, WORKLOAD_ENTRY, ENDPOINT_SLICE, SERVICE, POD),
    RDS: (VIRTUAL_SERVICE, GATEWAY, SIDECAR, SERVICE_ENTRY, SERVICE),
    RATE_LIMIT_CONFIG: (RATE_LIMIT,),
    VHDS: (VIRTUAL_SERVICE, GATEWAY, SIDECAR, SERVICE_ENTRY, SERVICE),
    ECDS: (TRAFFIC_EXTENSION, WASM_PLUGIN),
}
_FIELDS: Mapping[tuple[str, GroupKind], str] = {
    (CDS, DESTINATION_RULE): "spec.trafficPolicy",
    (CDS, SERVICE): "spec.ports",
    (CDS, SERVICE_ENTRY): "spec.ports",
    (ECDS, WASM_PLUGIN): "spec.url",
    (EDS, ENDPOINT_SLICE): "endpoints",
    (EDS, SERVICE_ENTRY): "spec.endpoints",
    (EDS, WORKLOAD_ENTRY): "spec.address",
    (LDS, AUTHORIZATION_POLICY): "spec.rules",
    (LDS, GATEWAY): "spec.servers",
    (LDS, RATE_LIMIT): "spec.rules",
    (LDS, REQUEST_AUTHENTICATION): "spec.jwtRules",
    (LDS, VIRTUAL_SERVICE): "spec",
    (RATE_LIMIT_CONFIG, RATE_LIMIT): "spec.rules",
    (RDS, VIRTUAL_SERVICE): "spec.http",
    (VHDS, VIRTUAL_SERVICE): "spec.http",
}
_SHORTEST = 4  # characters of a value that an Envoy's words are searched for
_MOST = 3  # objects that are named where any of them may be at fault


class MadeFrom(NamedTuple):
    """An object that a resource was made from, and the number of the change that brought it."""

    object: MeshObject
    changed: int


def fields_at_fault(type_url: str, name: str, message: str, made_from: Iterable[MadeFrom]) -> tuple[FieldAtFault, ...]:
    """Return what of ``made_from`` is to blame for the refusal of the resource ``name`` with ``message``."""
    kinds = _KINDS.get(type_url, ())
    suspects = [each for each in made_from if each.object.key.group_kind in kinds]
    quoted = [(len(text), each.object.key, path) for each in suspects for path, text in _texts(each.object) if text in message]
    if quoted:
        longest = max(length for length, _, _ in quoted)
        return tuple(sorted(FieldAtFault(key, path) for length, key, path in quoted if length == longest))[:_MOST]
    newest = max((each.changed for each in suspects), default=0)
    latest = [each.object for each in suspects if each.changed == newest]
    first = min((kinds.index(each.key.group_kind) for each in latest), default=0)
    keys = sorted(each.key for each in latest if kinds.index(each.key.group_kind) == first)
    return tuple(FieldAtFault(key, _field(type_url, name, key, latest)) for key in keys[:_MOST])


def fields_behind(type_url: str, name: str, made_from: Iterable[MadeFrom]) -> tuple[FieldAtFault, ...]:
    """Return what of ``made_from`` says something about ``name``, what says most first."""
    kinds = _KINDS.get(type_url, ())
    among = [each.object for each in made_from if each.object.key.group_kind in kinds]
    keys = sorted((each.key for each in among), key=lambda key: (kinds.index(key.group_kind), key))
    return tuple(FieldAtFault(key, _field(type_url, name, key, among)) for key in keys)


@query
def hosts_about(db: Database, key: Key) -> frozenset[str] | None:
    """Return the hosts that the object ``key`` is about, those that it leads to too; ``None``: it is about none in particular."""
    match objects(db, key):
        case VirtualService():
            head = virtual_service_head(db, key)
            return frozenset((*(head.hosts if head else ()), *destinations(db, key)))
        case KubernetesService():
            return frozenset({service_host(key.name, key.namespace)})
        case ServiceEntry() as service_entry:
            return frozenset(service_entry.spec.hosts)
        case DestinationRule() as rule if "*" not in rule.spec.host:
            return frozenset({resolve_short_name(rule.spec.host, key.namespace, CLUSTER_DOMAIN)})
        case _:
            return None


def _field(type_url: str, name: str, key: Key, among: Iterable[MeshObject]) -> str:
    subset = name.split("|")[2] if type_url == CDS and name.count("|") == 3 else ""
    if subset and key.group_kind == DESTINATION_RULE:
        written = next(_texts(each, shortest=1) for each in among if each.key == key)
        found = next((path for path, text in written if path.endswith("].name") and text == subset), "")
        return found.removesuffix(".name") or "spec.subsets"
    return _FIELDS.get((type_url, key.group_kind), "spec")


def _texts(mesh_object: MeshObject, shortest: int = _SHORTEST) -> Iterator[tuple[str, str]]:
    """Yield each text that a user wrote into ``mesh_object``, by its field, but for short ones."""
    spec = getattr(mesh_object, "spec", None)
    if isinstance(spec, BaseModel):
        written = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        yield from ((path, text) for path, text in _leaves("spec", written) if len(text) >= shortest)


def _leaves(path: str, value: object) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield path, value
        case dict():
            for name, inner in value.items():
                yield from _leaves(f"{path}.{name}", inner)
        case list():
            for position, inner in enumerate(value):
                yield from _leaves(f"{path}[{position}]", inner)
        case _:
            pass
