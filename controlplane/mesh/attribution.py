"""From a resource that a proxy refuses to the fields that made it, by what the database has read for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from envoy.config.route.v3.route_components_pb2 import VirtualHost

from controlplane.envoy.patching.message_texts import texts_in
from controlplane.envoy.patching.patch_values import message_of
from controlplane.envoy.type_urls import RDS, VHDS
from controlplane.incremental.database import Database, Failed, QueryCall
from controlplane.mesh import inputs
from controlplane.mesh.access.credentials import credential_users
from controlplane.mesh.fields_at_fault import MadeFrom, fields_at_fault, fields_behind, hosts_about
from controlplane.mesh.gateway.gateways import GatewayScope, gateways_selecting
from controlplane.mesh.patches.compiled import compiled_patch
from controlplane.mesh.publish.parts import PartGroup, ResourcePart
from controlplane.mesh.publish.publisher import Publisher
from controlplane.mesh.roots import is_of_one_workload, seen_by
from controlplane.model.keys import GATEWAY, VIRTUAL_SERVICE, Key
from controlplane.model.problems import FieldAtFault
from controlplane.model.proxies import Proxy
from controlplane.translate.patches.patch import PatchRef
from controlplane.translate.routes.virtual_hosts import origins
from controlplane.xds.resource import Part, Resource
from controlplane.xds.view import Table, folder

_SHORTEST_TEXT = 4  # of a patch that a proxy's words are searched for


class Attribution:
    """Knows of each object when it has changed last, and whose fault a refusal is."""

    def __init__(self, db: Database, publisher: Publisher) -> None:
        """Look at what ``publisher`` has published from ``db``."""
        self._db = db
        self._publisher = publisher
        self._changes = 0
        self._changed_at: dict[Key, int] = {}  # by object: the number of the change that brought it

    def changed(self, keys: Iterable[Key]) -> None:
        """Take note that the objects ``keys`` have changed, together."""
        self._changes += 1
        for key in keys:
            if inputs.objects(self._db, key) is None:
                self._changed_at.pop(key, None)
            else:
                self._changed_at[key] = self._changes

    def fields_at_fault(self, tables: Iterable[Table], type_url: str, name: str, message: str) -> tuple[FieldAtFault, ...]:
        """Return what is to blame that a proxy that sees ``tables`` refused ``name``, a resource or a virtual host in one."""
        for table in tables:
            resource, part = _find(table, type_url, name)
            if resource is not None:
                patches = self.patches_in(table, type_url, resource.name, message)
                if patches:
                    return (FieldAtFault(patches[0].key, patches[0].path),)
                about = _Subject(type_url, resource, part)
                for position, call in enumerate(self._publisher.made_by(table, (type_url, resource.name))):
                    made_from = self._made_from(call, about, narrow=position > 0)
                    if at_fault := fields_at_fault(type_url, name, message, made_from):
                        return at_fault
        return ()

    def made_of(self, tables: Iterable[Table], type_url: str, name: str) -> tuple[FieldAtFault, ...]:
        """Return the fields that ``name``, a resource in one of ``tables`` or a virtual host in one, was made from."""
        for table in tables:
            resource, part = _find(table, type_url, name)
            if resource is not None:
                about = _Subject(type_url, resource, part)
                calls = self._publisher.made_by(table, (type_url, resource.name))
                # What holds for a workload is worked out for its group; a group of many services has read too much to be told.
                told = calls if isinstance(table.key, PartGroup) and is_of_one_workload(table.key) else calls[:1]
                found = {made.object.key: made for call in told for made in self._made_from(call, about, narrow=bool(about.hosts))}
                return fields_behind(type_url, name, found.values())
        return ()

    def tables_with(self, calls: Iterable[QueryCall]) -> Mapping[Table, Sequence[ResourcePart | PartGroup]]:
        """Return which of ``calls`` are parts or groups of which tables."""
        return self._publisher.tables_with(calls)

    def patches_in(self, table: Table, type_url: str, name: str, message: str) -> tuple[PatchRef, ...]:
        """Return the patches that ``name`` on ``table`` is published with, the most suspect first where it is refused with ``message``.

        Those first whose value says most of what ``message`` does, and what has changed last.
        """
        for call in self._publisher.made_by(table, (type_url, name))[:1]:
            patched = self._publisher.patched.get(call)
            if patched:
                found = set(patched.applied)
                return tuple(
                    sorted(found, key=lambda ref: (self._longest_quote(ref, message), self._changed_at.get(ref.key, 0), ref), reverse=True)
                )
        return ()

    def _longest_quote(self, ref: PatchRef, message: str) -> int:
        """Return the length of the longest text of the patch ``ref`` that is in ``message``."""
        patch = self._db.attempt(compiled_patch, ref)
        if patch is None or isinstance(patch, Failed) or not patch.value:
            return 0
        texts = texts_in(message_of(patch.head.apply_to, patch.value))
        return max((len(text) for text in texts if len(text) >= _SHORTEST_TEXT and text in message), default=0)

    def fields_naming(self, proxy: Proxy, tables: Iterable[Table], credential: str) -> tuple[FieldAtFault, ...]:
        """Return the fields by which ``proxy``, which sees ``tables``, has to do with ``credential``, by its name in SDS.

        One name means a Secret of each proxy's own namespace, so who names it for other proxies is not to blame.
        """
        users = self._db.attempt(credential_users)
        naming = () if isinstance(users, Failed) else users.get(credential, ())
        seen = frozenset(tables)
        selecting = self._gateways_of(proxy) if naming else frozenset()
        return tuple(
            each
            for each in naming
            if each.key in selecting or (each.key.group_kind != GATEWAY and self._is_used(each.key, seen, credential))
        )

    def _gateways_of(self, proxy: Proxy) -> frozenset[Key]:
        seen = self._db.attempt(seen_by, proxy)
        scope = None if isinstance(seen, Failed) else seen.scope
        keys = self._db.attempt(gateways_selecting, scope.labels) if isinstance(scope, GatewayScope) else ()
        return frozenset() if isinstance(keys, Failed) else frozenset(keys)

    def _is_used(self, key: Key, tables: AbstractSet[Table], credential: str) -> bool:
        """Return whether anything on ``tables`` that names ``credential`` was made from the object ``key``."""
        published = (made for call in self._db.dependents(inputs.objects, key) for made in self._publisher.published(call))
        return any(table in tables and credential.encode() in resource.value for table, resource in published)

    def _made_from(self, call: QueryCall, about: _Subject, *, narrow: bool) -> Iterator[MadeFrom]:
        """Yield the objects that ``call`` was made from, as far as they can be at fault; ``narrow``: it made other resources too."""
        read = {entry.key for entry in self._db.sources(call.query, *call.args) if entry.input is inputs.objects}
        keys = {key for key in read if isinstance(key, Key)}
        routing = keys & about.virtual_services
        for key in sorted(routing or keys):
            mesh_object = inputs.objects(self._db, key)
            if mesh_object is not None and (routing or not (narrow or about.narrow) or self._is_about(key, about.hosts)):
                yield MadeFrom(mesh_object, self._changed_at.get(key, 0))

    def _is_about(self, key: Key, hosts: AbstractSet[str]) -> bool:
        """Return whether the object ``key`` is about one of ``hosts``, or about none in particular."""
        about = self._db.attempt(hosts_about, key)
        return isinstance(about, Failed) or about is None or not hosts.isdisjoint(about)


class _Subject:
    """What was refused, by what can be read in it: the hosts that it leads to, and the VirtualServices that have written its routes."""

    def __init__(self, type_url: str, resource: Resource, part: Part | None) -> None:
        uses = part.uses if part else resource.uses
        self.hosts = frozenset(pieces[3] for _, name in uses if len(pieces := name.split("|")) == 4)
        self.narrow = part is not None
        routes = part.body if part else resource.value if type_url == VHDS else b""
        self.virtual_services = frozenset(
            VIRTUAL_SERVICE.key(namespace, name) for namespace, name in origins(VirtualHost.FromString(routes))
        )


def _find(table: Table, type_url: str, name: str) -> tuple[Resource | None, Part | None]:
    resources = table.of_type(type_url)
    if (resource := resources.get(name)) is not None or type_url != RDS:
        return resource, None
    whole = resources.get(folder(name))
    parts = whole.assembly.parts if whole is not None and whole.assembly is not None else ()
    part = next((part for part in parts if f"{folder(name)}/{part.name}" == name), None)
    return (whole, part) if part is not None else (None, None)
