"""Where changes enter the database: objects and the indexes over them. The only module that calls ``db.set``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple, assert_never

from controlplane.incremental.database import Database, Input
from controlplane.mesh.facts import CredentialFault, CredentialVerdict, Fact, IssuerKeys
from controlplane.mesh.gateway_bindings import all_matches, gateways_of
from controlplane.mesh.shards import CLUSTER_DOMAIN, SHARDED, Facet, declared_twice_in, domain_facets, moved, shard_count
from controlplane.model.deferrals import Deferral
from controlplane.model.hosts import resolve_short_name
from controlplane.model.keys import ENDPOINT_KINDS, SERVICE, SERVICE_ENTRY, GroupKind, Key
from controlplane.model.proxies import ProxyType
from controlplane.objects.changes import MeshChange
from controlplane.objects.kinds import MeshObject
from controlplane.objects.kubernetes.core import EndpointSlice, KubernetesService, Pod
from controlplane.objects.networking.destination_rule import DestinationRule
from controlplane.objects.networking.service_entry import ServiceEntry, WorkloadEntry
from controlplane.objects.networking.virtual_service import VirtualService
from controlplane.objects.security.jwks import KeySet

ProxyPlace = tuple[str, ProxyType]  # the proxies of a kind in a namespace; in all where that is empty
NOTHING: frozenset[Key] = frozenset()
EVERYONE = "*"
NO_ONE = "~"
EXTERNAL_NAMES: Facet = ("external-names",)  # of every Service that is another name
SERVICE_NAME_LABEL = "kubernetes.io/service-name"

objects: Input[Key, MeshObject | None] = Input("objects", default=None)
index: Input[Facet, frozenset[Key]] = Input("index", default=NOTHING)
shards: Input[str, int] = Input("shards", default=0)  # by namespace: how many it has
# By namespace and address: a proxy there connected without an identity. It has no certificate, whatever its pod's labels say.
plaintext_addresses: Input[tuple[str, str], bool] = Input("anonymous", default=False)

# By place: the most instructions of a regular expression that all proxies take that are connected there; None where none is.
expression_limits: Input[ProxyPlace, int | None] = Input("expression_limits", default=None)

# By the address where an issuer publishes them: its keys as a JSON Web Key Set (None: there are none), and why fetching them failed last.
jwks: Input[str, str | None] = Input("jwks", default=None)
jwks_failure: Input[str, str] = Input("jwks_failure", default="")

# By the name of a credential in SDS: the namespaces whose proxies cannot be given it, and why. Its content is never here.
credential_problems: Input[str, tuple[CredentialFault, ...]] = Input("unusable", default=())

# By object: its rules that stay as they were published for a while. What is published does not depend on it, only what is told of it.
held_back: Input[Key, Deferral | None] = Input("held_back", default=None)


class Applied(NamedTuple):
    """What facts have really changed: objects, and the indexes that list those of them that say where instances are."""

    keys: frozenset[Key]
    endpoint_facets: frozenset[Facet]


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


def apply(db: Database, facts: Iterable[Fact]) -> Applied:
    """Set ``facts``, of two about the same thing the later one; return what really changed."""
    objects_now: dict[Key, MeshObject | None] = {}
    for fact in facts:
        match fact:
            case MeshChange():
                objects_now[fact.key] = fact.object
            case IssuerKeys():
                set_issuer_keys(db, fact.address, fact.keys)
            case CredentialVerdict():
                set_credential_problems(db, fact.name, fact.faults)
            case _:
                assert_never(fact)
    return _set_objects(db, objects_now)


def _set_objects(db: Database, objects_now: Mapping[Key, MeshObject | None]) -> Applied:
    """Set ``objects_now`` and every index that lists them; return what really changed."""
    touched: dict[Facet, dict[Key, bool]] = defaultdict(dict)
    endpoint_facets: set[Facet] = set()
    changed = set()
    for key, obj in objects_now.items():
        before = objects(db, key)
        if not db.set(objects, key, obj):
            continue
        changed.add(key)
        old, new = _facets(before), _facets(obj)
        for facet in old - new:
            touched[facet][key] = False
        for facet in new - old:
            touched[facet][key] = True
        if key.group_kind in ENDPOINT_KINDS:
            endpoint_facets |= old ^ new
    _index(db, touched)
    _index(db, _declared_twice(db, touched))
    _update_shards(db, changed)
    return Applied(frozenset(changed), frozenset(endpoint_facets))


def _declared_twice(db: Database, touched: Mapping[Facet, Mapping[Key, bool]]) -> Mapping[Facet, Mapping[Key, bool]]:
    """Return which namespaces share the services' hosts that ``touched`` is about with another object, and which no longer do."""
    found: dict[Facet, dict[Key, bool]] = defaultdict(dict)
    for facet, members in touched.items():
        if facet[0] == "host" and facet[1:3] in (SERVICE, SERVICE_ENTRY):
            host = facet[-1]
            declarers = index(db, about_host(SERVICE, host)) | index(db, about_host(SERVICE_ENTRY, host))
            declaring = {key.namespace for key in declarers} if len(declarers) > 1 else set()
            for namespace in {key.namespace for key in (*declarers, *members)}:
                found[declared_twice_in(namespace)][SERVICE.key(namespace, host)] = namespace in declaring
    return found


def _update_shards(db: Database, changed: Iterable[Key]) -> None:
    """Put the objects ``changed`` into their shards; where a namespace needs another number of them, all its objects."""
    by_namespace: dict[str, set[Key]] = defaultdict(set)
    for key in changed:
        if key.group_kind in SHARDED:
            by_namespace[key.namespace].add(key)
    for namespace, keys in by_namespace.items():
        members = frozenset().union(*(index(db, of_kind(kind, namespace)) for kind in SHARDED))
        before = shards(db, namespace)
        now = shard_count(before, len(members))
        _index(db, moved(keys, members, before, now))
        db.set(shards, namespace, now)


def set_plaintext(db: Database, place: tuple[str, str], *, plaintext: bool) -> None:
    """Set whether the proxy at ``place`` (namespace, address) has connected without an identity, so that it takes ``plaintext`` only."""
    db.set(plaintext_addresses, place, plaintext)


def set_expression_limit(db: Database, place: ProxyPlace, limit: int | None) -> None:
    """Set the ``limit`` that all connected proxies of ``place`` keep to; ``None`` where none is connected."""
    db.set(expression_limits, place, limit)


def set_credential_problems(db: Database, name: str, faults: tuple[CredentialFault, ...]) -> None:
    """Set for which namespaces the credential ``name`` cannot be used, and for what ``reasons``."""
    db.set(credential_problems, name, faults)


def set_deferral(db: Database, key: Key, held: Deferral | None) -> None:
    """Set what of the rules of ``key`` is ``held`` back."""
    db.set(held_back, key, held)


def set_issuer_keys(db: Database, address: str, keys: KeySet) -> None:
    """Set the ``keys`` of the issuer at ``address``, and why fetching them failed last."""
    db.set(jwks, address, keys.text)
    db.set(jwks_failure, address, keys.failure)


def _index(db: Database, touched: Mapping[Facet, Mapping[Key, bool]]) -> None:
    for facet, members in touched.items():
        before = index(db, facet)
        added = {key for key, is_member in members.items() if is_member}
        after = frozenset(before - members.keys()) | added  # a frozenset less the keys of a dict is a plain set
        db.set(index, facet, after)
        if facet[0] == "kind" and bool(before) != bool(after):
            _, group, name, namespace = facet
            kind = GroupKind(group, name)
            marker = frozenset((kind.key(namespace, ""),))
            peers = index(db, namespaces_with(kind))
            db.set(index, namespaces_with(kind), peers | marker if after else peers - marker)


def _other_names(kubernetes_service: KubernetesService) -> tuple[Facet, ...]:
    return (EXTERNAL_NAMES,) if kubernetes_service.spec.type == "ExternalName" else ()


def _selecting(namespace: str, selector: Mapping[str, str]) -> tuple[Facet, ...]:
    return (selecting(namespace, *min(selector.items())),) if selector else ()


def _facets(obj: MeshObject | None) -> frozenset[Facet]:
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
