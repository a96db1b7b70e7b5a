"""A plan says exactly what would change, resource by resource and proxy by proxy, and leaves the database as it was, to the last object."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from random import Random

import yaml

from controlplane.incremental.database import Database
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.planning.planned_state import PlannedState, planned
from controlplane.mesh.sessions import Session
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import MeshChange, split
from controlplane.sources.files.once import STDIN, read_manifests
from controlplane.xds.resource import Reference, Resource
from controlplane.xds.stream import Variant
from tests.support.proofs import cases, seed
from tests.support.simulation.manifests import Json, configuration
from tests.support.simulation.policies import policies
from tests.support.simulation.translated import METADATA, NODE

CHANGES = 25  # in `make test`
PROXIES = (
    (proxy_from_node(NODE, METADATA), Variant.DELTA),
    (proxy_from_node(NODE.replace("client-1.default", "client-2.default"), METADATA), Variant.SOTW),
    (proxy_from_node("sidecar~10.9.9.9~other.shop~shop.svc.cluster.local", {"LABELS": {}, "INTERCEPTION_MODE": "NONE"}), Variant.DELTA),
)
_INSTANCE = re.compile(r"\bs[0-9]-[0-9]\.")
Seen = Mapping[Reference, Resource]


def test_a_plan_is_what_comes_of_it_and_leaves_no_trace() -> None:
    changed = 0
    for number in range(cases(CHANGES)):
        random = Random(f"{seed()}/{number}")
        mesh, sessions = served(documents(random))
        facts = change(random, mesh)
        before, trace = [seen(session) for session in sessions], traced(mesh.database)

        plan = worked_out(mesh, sessions, facts, random)

        assert traced(mesh.database) == trace, f"NAVARCH_SEED={seed()}, change {number}"
        problems = set(mesh.problems())
        mesh.apply(facts)
        assert mesh.refresh().failed == ()
        assert said(plan, sessions) == [differences(was, seen(session)) for was, session in zip(before, sessions, strict=True)], (
            f"NAVARCH_SEED={seed()}, change {number}"
        )
        assert set(plan.new_problems) == set(mesh.problems()) - problems
        assert set(plan.gone_problems) == problems - set(mesh.problems())
        changed += bool(plan.views)
    assert changed > cases(CHANGES) // 4


def documents(random: Random) -> list[Json]:
    """Return random manifests; without routes for single instances, whose virtual hosts are called as those of the instances are."""
    made = [*configuration(random).documents, *policies(random).documents[1:]]
    return [each for each in made if not (each["kind"] == "VirtualService" and _INSTANCE.search(str(each["spec"])))]


def served(documents: list[Json]) -> tuple[Mesh, list[Session]]:
    mesh = Mesh()
    mesh.apply(parsed(documents))
    sessions = [mesh.connect(proxy, variant) for proxy, variant in PROXIES]
    assert mesh.refresh().failed == ()
    return mesh, sessions


def parsed(documents: list[Json]) -> tuple[MeshChange, ...]:
    _, changes = read_manifests([STDIN], io.BytesIO(yaml.safe_dump_all(documents).encode()))
    return split(changes)[0]


def change(random: Random, mesh: Mesh) -> list[MeshChange]:
    """Return a change of a few objects: some of another configuration, some that go."""
    others = parsed(documents(random))
    added = random.sample(others, min(len(others), random.choice((0, 1, 1, 2, 5))))
    gone = [MeshChange(key, None) for key in random.sample(mesh.keys, random.choice((0, 1, 1, 3)))]
    return [*gone, *added]


def worked_out(mesh: Mesh, sessions: list[Session], facts: list[MeshChange], random: Random) -> PlannedState:
    """Return the plan, worked out in pieces, in the middle of queries too."""

    def stop() -> Callable[[], bool]:
        left = itertools.count(random.randint(1, 40), -1)
        return lambda: next(left) <= 0

    work = planned(mesh.database, mesh.attribution.tables_with, sessions, mesh.keys, facts, stop)
    while True:
        try:
            next(work)
        except StopIteration as end:
            state: PlannedState = end.value
            return state


def seen(session: Session) -> Seen:
    tables = reversed(session.view.tables)
    return {
        (type_url, name): resource for table in tables for type_url in table.types for name, resource in table.of_type(type_url).items()
    }


def said(plan: PlannedState, sessions: list[Session]) -> list[Mapping[Reference, tuple[Resource | None, Resource | None]]]:
    by_session = {view.session: view.differs for view in plan.views}
    return [dict(by_session.get(session, {})) for session in sessions]


def differences(before: Seen, after: Seen) -> Mapping[Reference, tuple[Resource | None, Resource | None]]:
    pairs = {reference: (before.get(reference), after.get(reference)) for reference in before.keys() | after.keys()}
    return {reference: pair for reference, pair in pairs.items() if pair[0] != pair[1]}


def traced(db: Database) -> list[tuple[object, ...]]:
    """Return all that a database has, by identity: no value, no edge and no state of it can change without another trace."""
    graph = db.graph
    waiting = [tuple(map(id, group)) for group in (graph.stale, graph.changed, graph.failing, graph.orphans)]
    return [*_traced(db), (db.changes, graph.links, tuple(waiting))]


def _traced(db: Database) -> Iterator[tuple[object, ...]]:
    for into, cells in db.graph.cells.items():
        for key, cell in cells.items():
            yield id(into), key, id(cell), id(cell.value), tuple(map(id, cell.dependents))
    for query, nodes in db.graph.nodes.items():
        for args, node in nodes.items():
            edges = tuple(map(id, node.reads)), tuple(map(id, node.dependents)), tuple(map(id, node.stale or ()))
            yield id(query), args, id(node), id(node.value), node.state, node.watches, edges
