"""Where changes enter the database: objects and the indexes over them. The only module that calls ``db.set``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple, assert_never

from controlplane.incremental.database import Database, Input
from controlplane.mesh.facets import about_host, facets_of, namespaces_with, of_kind
from controlplane.mesh.facts import CredentialFault, CredentialVerdict, Fact, FaultChange, FetchedModule, IssuerKeys
from controlplane.mesh.shards import SHARDED, Facet, declared_twice_in, moved, shard_count
from controlplane.model.deferrals import Deferral
from controlplane.model.faults.faults import FaultId, FaultSide, StagedFault
from controlplane.model.keys import ENDPOINT_KINDS, SERVICE, SERVICE_ENTRY, GroupKind, Key
from controlplane.model.proxies import ProxyType
from controlplane.objects.changes import MeshChange
from controlplane.objects.extensions.modules import Module, ModuleSource
from controlplane.objects.kinds import MeshObject
from controlplane.objects.security.jwks import KeySet
from controlplane.settings import EnvoyFilters
from controlplane.translate.patches.patch import PatchFault, PatchRef

ProxyPlace = tuple[str, ProxyType]  # the proxies of a kind in a namespace; in all where that is empty
NOTHING: frozenset[Key] = frozenset()

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

# By where it is fetched from: a module, ``None`` as long as there is none, and why fetching it failed last.
modules: Input[ModuleSource, Module | None] = Input("modules", default=None)
module_failure: Input[ModuleSource, str] = Input("module_failure", default="")

# By the name of a credential in SDS: the namespaces whose proxies cannot be given it, and why. Its content is never here.
credential_problems: Input[str, tuple[CredentialFault, ...]] = Input("unusable", default=())

# Whose EnvoyFilters have an effect, by the only key there is, the empty one: what the operator chose.
envoy_filter_scope: Input[str, EnvoyFilters] = Input("envoy_filters", default=EnvoyFilters.ROOT)

# By the id of a proxy: the patches that it refuses, each with what differs as soon as it says something else.
refused_patches: Input[str, frozenset[tuple[PatchRef, str]]] = Input("refused_patches", default=frozenset())

# By EnvoyFilter: why patches of it could not be applied to something that proxies see. Nothing that is published depends on it.
patch_faults: Input[Key, tuple[PatchFault, ...]] = Input("patch_faults", default=())

# By EnvoyFilter: those of its patches that are for proxies, and for nothing that these see. Likewise.
unused_patches: Input[Key, frozenset[PatchRef]] = Input("unused_patches", default=frozenset())

# By object: its rules that stay as they were published for a while. What is published does not depend on it, only what is told of it.
held_back: Input[Key, Deferral | None] = Input("held_back", default=None)

# The faults that drills inject, by id, and which there are: those of a host, and those that proxies of a namespace make as callers.
faults: Input[FaultId, StagedFault | None] = Input("faults", default=None)
faults_of_host: Input[str, frozenset[FaultId]] = Input("faults_of_host", default=frozenset())
faults_of_callers: Input[str, frozenset[FaultId]] = Input("faults_of_callers", default=frozenset())  # of all namespaces: by the empty one


class Applied(NamedTuple):
    """What facts have really changed: objects, and the indexes that list those of them that say where instances are."""

    keys: frozenset[Key]
    endpoint_facets: frozenset[Facet]


def apply(db: Database, facts: Iterable[Fact]) -> Applied:
    """Set ``facts``, of two about the same thing the later one; return what really changed."""
    objects_now: dict[Key, MeshObject | None] = {}
    for fact in facts:
        match fact:
            case MeshChange():
                objects_now[fact.key] = fact.object
            case IssuerKeys():
                set_issuer_keys(db, fact.address, fact.keys)
            case FetchedModule():
                db.set(modules, fact.source, fact.module)
                db.set(module_failure, fact.source, fact.failure)
            case CredentialVerdict():
                set_credential_problems(db, fact.name, fact.faults)
            case FaultChange():
                set_fault(db, fact.id, fact.staged)
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
        old, new = facets_of(before), facets_of(obj)
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


def set_envoy_filter_scope(db: Database, scope: EnvoyFilters) -> None:
    """Set whose EnvoyFilters have an effect."""
    db.set(envoy_filter_scope, "", scope)


def set_refused_patches(db: Database, proxy: str, refused: frozenset[tuple[PatchRef, str]]) -> None:
    """Set which patches the proxy with the id ``proxy`` has ``refused``."""
    db.set(refused_patches, proxy, refused)


def set_patch_faults(db: Database, key: Key, faults: tuple[PatchFault, ...]) -> None:
    """Set why patches of the EnvoyFilter ``key`` could not be applied."""
    db.set(patch_faults, key, faults)


def set_unused_patches(db: Database, key: Key, unused: frozenset[PatchRef]) -> None:
    """Set which patches of the EnvoyFilter ``key`` are for nothing that the proxies see that they are for."""
    db.set(unused_patches, key, unused)


def set_fault(db: Database, fault_id: FaultId, staged: StagedFault | None) -> None:
    """Set the fault ``fault_id`` to ``staged``, and list it where it is looked up."""
    before = faults(db, fault_id)
    db.set(faults, fault_id, staged)
    old, new = _listed_at(before), _listed_at(staged)
    for place, key in old ^ new:
        listed = place(db, key)
        db.set(place, key, listed | {fault_id} if (place, key) in new else listed - {fault_id})


def _listed_at(staged: StagedFault | None) -> set[tuple[Input[str, frozenset[FaultId]], str]]:
    if staged is None:
        return set()
    fault = staged.fault
    callers = (fault.caller.namespaces or ("",)) if fault.acts_at is FaultSide.CALLER else ()
    return {(faults_of_host, fault.host), *((faults_of_callers, namespace) for namespace in callers)}


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
