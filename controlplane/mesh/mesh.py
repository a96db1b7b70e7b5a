"""The mesh: the database, what is published from it, and the proxies that see it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.envoy.type_urls import SDS
from controlplane.incremental.database import Database, Failed
from controlplane.incremental.engine import never
from controlplane.mesh import inputs
from controlplane.mesh.access.credentials import credentials_of, referred_credentials
from controlplane.mesh.attribution import Attribution
from controlplane.mesh.endpoints_ahead import EndpointsAhead
from controlplane.mesh.facts import Fact
from controlplane.mesh.fetched.wanted import NOTHING_NEW, Wanted, WantedChanges
from controlplane.mesh.patches.unused import UnusedPatches
from controlplane.mesh.patches.withdrawn import WithdrawnPatches
from controlplane.mesh.problems.objects import internal_problem, problems_of
from controlplane.mesh.publish.publisher import Publisher
from controlplane.mesh.publish.retained_tables import RetainedTables
from controlplane.mesh.registry.expression_limits import ExpressionLimits
from controlplane.mesh.registry.injected_namespaces import injected_namespaces
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.plaintext_proxies import PlaintextProxies
from controlplane.mesh.registry.proxy_configs import proxy_configs
from controlplane.mesh.registry.workload_names import CountedWorkloads
from controlplane.mesh.roots import is_of_one_workload, patches_in, seen_by, table_roots, virtual_hosts_by
from controlplane.mesh.sessions import Session, deferrals_by_proxy, typical_proxy
from controlplane.model.deferrals import Deferral, by_object
from controlplane.model.faults.faults import FaultId
from controlplane.model.keys import Key, KnownKeys, in_key_order
from controlplane.model.mesh import MeshSettings
from controlplane.model.problems import FieldAtFault, Problem, Severity, in_order
from controlplane.model.proxies import Proxy
from controlplane.model.revisions import DEFAULT_REVISION, REVISION_LABEL, is_of_revision
from controlplane.objects.changes import MeshChange
from controlplane.objects.kinds import MeshObject
from controlplane.objects.networking.proxy_configs import ProxyConfigs
from controlplane.settings import EnvoyFilters
from controlplane.xds.resource import Resource
from controlplane.xds.stream import Variant, VirtualHostsBy
from controlplane.xds.view import Table, TableChange, View


@dataclass(frozen=True, slots=True)
class Published:
    """The result of one refresh."""

    changes: tuple[tuple[Table, TableChange], ...] = ()
    new_views: tuple[Session, ...] = ()  # sessions whose view is replaced; new ones get their first
    failed: tuple[Failed, ...] = ()  # queries that raised: our bugs, each reported once
    wanted: Wanted = NOTHING_NEW  # what is to be fetched
    held_back: Mapping[Key, Deferral] = field(default_factory=dict)  # all objects with rules that are held back
    due: float | None = None  # when something of that is to be published: refresh then though nothing has changed
    done: bool = True  # False: `stop` returned true; there is more to do, and nothing else is published yet


class Mesh:
    """The state of the mesh and what is published from it: ``apply`` takes facts in, ``refresh`` returns what they changed."""

    def __init__(
        self,
        revision: str = DEFAULT_REVISION,
        hold_unknown_s: float = 0.0,
        retain_tables_s: float = 0.0,
        envoy_filters: EnvoyFilters = EnvoyFilters.ROOT,
    ) -> None:
        """Begin with no objects; those for another revision, and EnvoyFilters but for ``envoy_filters``, will have no effect.

        A published rule whose new version leads nowhere stays as it was for ``hold_unknown_s`` seconds at most. What the last proxy of a
        kind saw is kept up to date for ``retain_tables_s`` seconds, as another one may come.
        """
        self._revision = revision
        self._revision_of: dict[Key, str] = {}  # of the objects that are for another revision
        self._db = Database()
        inputs.set_envoy_filter_scope(self._db, envoy_filters)
        self._publisher = Publisher(self._db, hold_unknown_s)
        self._retained_tables = RetainedTables(self._publisher, retain_tables_s, is_of_one_workload)
        self._now = 0.0  # of the last refresh
        self.attribution = Attribution(self._db, self._publisher)
        self._withdrawn_patches = WithdrawnPatches(self._db, self._publisher, self.attribution.patches_in)
        self._unused_patches = UnusedPatches(self._db, self._publisher)
        self._endpoints_ahead = EndpointsAhead(self._db, self._publisher)
        self.counted_workloads = CountedWorkloads(self._db)
        self._plaintext = PlaintextProxies(self._db)
        self._presence = (self._plaintext, ExpressionLimits(self._db))
        self._sessions: dict[Proxy, set[Session]] = defaultdict(set)
        self._keys = KnownKeys()
        self._applied = 0
        self._new_sessions: set[Session] = set()  # not looked at by a refresh yet
        self._new_views: set[Session] = set()
        self._failed: list[Failed] = []
        self._held_back: Mapping[Key, Deferral] = {}
        self._wanted = WantedChanges(self._db)

    @property
    def database(self) -> Database:
        """Return the database, to count what it runs or to ask what a value read."""
        return self._db

    def apply(self, facts: Iterable[Fact]) -> frozenset[Key]:
        """Take ``facts`` in, as one; return the keys of the objects that really changed. Nothing is published before ``refresh``."""
        applied = inputs.apply(self._db, [self._for_this_revision(fact) for fact in facts])
        self._applied += 1
        self.attribution.changed(applied.keys)
        self._withdrawn_patches.changed(applied.keys)
        self._endpoints_ahead.note(applied)
        there = {key for key in applied.keys if inputs.objects(self._db, key) is not None}
        self._keys.update(there, applied.keys - there)
        return applied.keys

    def connect(self, proxy: Proxy, variant: Variant) -> Session:
        """Return a session of ``proxy``: it sees nothing before a ``refresh`` has named it in ``new_views``."""
        session = Session(proxy, variant)
        for presence in self._presence if proxy.is_envoy else ():
            presence.connected(proxy)
        self._sessions[proxy].add(session)
        self._new_sessions.add(session)
        self._db.watch(seen_by, proxy)
        return session

    def disconnect(self, session: Session) -> None:
        """End ``session``; tables that no session uses any more are dropped."""
        for presence in self._presence if session.proxy.is_envoy else ():
            presence.disconnected(session.proxy)
        for root in session.roots:
            self._retained_tables.close(root, self._now)
        self._unused_patches.replace(patches_in(session.roots), ())
        session.roots = ()
        self._new_sessions.discard(session)
        peers = self._sessions[session.proxy]
        peers.discard(session)
        if not peers:
            del self._sessions[session.proxy]
            self._withdrawn_patches.forget(session.proxy.id)
        self._db.unwatch(seen_by, session.proxy)

    def refresh(self, stop: Callable[[], bool] = never, now: float = 0.0) -> Published:
        """Bring every table up to date with what was applied, unless ``stop``, asked between two queries, says to go on another time.

        ``now``, in seconds since the epoch, ends what was held back or kept long enough.
        What is watched leads to more that has to be watched, so the database is asked until it has nothing new to say.
        """
        self._now = now
        self._retained_tables.end_old(now)
        while True:
            self._plaintext.apply()
            report = self._db.refresh(stop)
            if not report.done:
                return Published(done=False)
            self._failed.extend(report.failed)
            for call in report.changed:
                self._publisher.take(call)
                self._wanted.take(call)
            proxies = [call.args[0] for call in report.changed if call.query is seen_by]
            sessions = self._new_sessions.union(*(self._sessions.get(proxy, ()) for proxy in proxies if isinstance(proxy, Proxy)))
            self._new_sessions.clear()
            with_new_view = {session for session in sessions if self._update_view(session)}
            self._new_views |= with_new_view
            if not report.changed and not with_new_view:
                break
        new_views, self._new_views = self._new_views, set()
        failed, self._failed = self._failed, []
        self._endpoints_ahead.clear()
        changes = self._publisher.flush(now)
        self._withdrawn_patches.note_faults()
        self._unused_patches.note()
        return Published(changes, tuple(new_views), tuple(failed), self._wanted.flush(), self._note_deferrals(), self._due)

    def refresh_endpoints(self, stop: Callable[[], bool] = never) -> Published:
        """Publish what has changed of endpoints, while a ``refresh`` is not done yet; not ``done``: call again to go on."""
        changes, done = self._endpoints_ahead.publish(stop)
        return Published(changes, held_back=self._held_back, due=self._due, done=done)

    def expect_proxies(self, *, identified: bool) -> None:
        """Have what sidecars of the largest namespace see worked out by the next refreshes; ``identified``: they have certificates."""
        proxy = typical_proxy(self._keys.all, identified=identified)
        seen = self._db.attempt(seen_by, proxy) if proxy else None
        if seen is not None and not isinstance(seen, Failed):
            for root in table_roots(seen, VirtualHostsBy.VHDS):
                self._retained_tables.keep(root, self._now)

    @property
    def _due(self) -> float | None:
        return min((due for due in (self._publisher.due, self._retained_tables.due) if due is not None), default=None)

    def deferrals_from(self, sessions: Iterable[Session]) -> Mapping[str, Mapping[Key, Deferral]]:
        """Return what is held back from ``sessions``, by the name of the proxy and by object."""
        return deferrals_by_proxy(sessions, self._publisher.deferrals())

    @property
    def version(self) -> tuple[int, int]:
        """Return what differs as soon as something that can be asked here may have another answer."""
        return self._applied, self._db.changes

    @property
    def keys(self) -> tuple[Key, ...]:
        """Return the keys of all objects, sorted."""
        return self._keys.in_order()

    def object(self, key: Key) -> MeshObject | None:
        """Return the object ``key``."""
        return inputs.objects(self._db, key)

    def settings(self) -> MeshSettings:
        """Return the settings of the mesh."""
        return MeshSettings() if isinstance(settings := self._db.attempt(mesh_settings), Failed) else settings

    def referred_credentials(self) -> frozenset[str]:
        """Return the names in SDS of the credentials that objects refer to."""
        return frozenset() if isinstance(names := self._db.attempt(referred_credentials), Failed) else names

    def injected_namespaces(self) -> frozenset[str]:
        """Return the namespaces with injection."""
        return frozenset() if isinstance(namespaces := self._db.attempt(injected_namespaces), Failed) else namespaces

    def proxy_configs(self) -> ProxyConfigs:
        """Return the settings of proxies that hold where a pod has none of its own."""
        configs = self._db.attempt(proxy_configs)
        return ProxyConfigs() if isinstance(configs, Failed) else configs

    def problems(self) -> tuple[Problem, ...]:
        """Return what is wrong between objects, sorted: hosts, subsets and ports that do not exist, conflicts, and internal errors."""
        return in_order(problem for of_one in self.problems_by_object() for problem in of_one)

    def all_keys(self) -> tuple[Key, ...]:
        """Return the keys of all objects, of other control planes' too, sorted."""
        return in_key_order(self._keys.all | self._revision_of.keys()) if self._revision_of else self.keys

    def problems_by_object(self) -> Iterator[tuple[Problem, ...]]:
        """Yield what is wrong between one object and the others, object by object; the mesh may change meanwhile."""
        return (self.problems_about(key) for key in self.all_keys())

    def problems_about(self, key: Key) -> tuple[Problem, ...]:
        """Return what is wrong between the object ``key`` and the others."""
        if key in self._revision_of:
            message = f"it is for revision {self._revision_of[key]}, this is {self._revision}: it has no effect here"
            return (Problem(key, "metadata.labels", Severity.INFO, "OtherRevision", message),)
        problems = self._db.attempt(problems_of, key)
        return (internal_problem(key, problems),) if isinstance(problems, Failed) else problems

    def credentials(self) -> Iterator[tuple[Key, str, str]]:
        """Yield the objects that name credentials, in which field, and their names in SDS."""
        for key in self.keys:
            found = self._db.attempt(credentials_of, key)
            yield from ((key, path, name) for path, name in (() if isinstance(found, Failed) else found))

    def made_from(self, key: Key) -> Iterator[tuple[Table, Resource]]:
        """Yield every published resource that the object ``key``, or the fault of a drill, was read for, with each table that holds it."""
        fault_id = FaultId.of(key)
        for call in self._db.dependents(inputs.faults, fault_id) if fault_id else self._db.dependents(inputs.objects, key):
            yield from self._publisher.published(call)

    def fields_at_fault(self, session: Session, type_url: str, name: str, message: str) -> tuple[FieldAtFault, ...]:
        """Return which fields of which objects are to blame that the proxy of ``session`` refused ``name`` with ``message``."""
        if type_url == SDS:
            return self.attribution.fields_naming(session.proxy, session.view.tables, name)
        return self.attribution.fields_at_fault(session.view.tables, type_url, name, message)

    def withdraw_patches(self, session: Session, type_url: str, name: str, message: str) -> bool:
        """Leave a patch out of what the proxy of ``session`` refused with ``message``; return whether there is one: then ``refresh``."""
        return self._withdrawn_patches.refused(session.proxy.id, session.view.tables, type_url, name, message)

    def is_for_another_revision(self, key: Key) -> bool:
        """Return whether the object ``key`` is there and another control plane's."""
        return key in self._revision_of

    def _for_this_revision(self, fact: Fact) -> Fact:
        """Return ``fact`` as it is, but an object for another revision as one that is not there."""
        if not isinstance(fact, MeshChange):
            return fact
        self._revision_of.pop(fact.key, None)
        label = fact.object.meta.labels.get(REVISION_LABEL) if fact.object else None
        if label is None or is_of_revision(fact.key, label, self._revision):
            return fact
        self._revision_of[fact.key] = label
        return MeshChange(fact.key, None)

    def _note_deferrals(self) -> Mapping[Key, Deferral]:
        before, self._held_back = self._held_back, by_object(held for of_table in self._publisher.deferrals().values() for held in of_table)
        for key in before.keys() | self._held_back.keys():
            inputs.set_deferral(self._db, key, self._held_back.get(key))
        return self._held_back

    def _update_view(self, session: Session) -> bool:
        seen = self._db.peek(seen_by, session.proxy)
        if isinstance(seen, Failed):
            return False
        roots = table_roots(seen, virtual_hosts_by(session.proxy, session.variant), session.proxy.lacking)
        if roots == session.roots:
            return False
        tables = [self._publisher.open(root) for root in roots]
        for root in session.roots:
            self._retained_tables.close(root, self._now)
        self._unused_patches.replace(patches_in(session.roots), patches_in(roots))
        session.roots = roots
        session.view = View(*tables)
        return True
