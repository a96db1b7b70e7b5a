"""What a change costs the database alone, without a network: in milliseconds, in queries that ran, and in bytes that are to be sent."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from controlplane.incremental.engine import never
from controlplane.mesh.mesh import Mesh, Published
from controlplane.mesh.sessions import Session
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change, MeshChange, split
from controlplane.objects.parse import parse
from controlplane.xds.stream import Variant
from tests.bench import workload
from tests.bench.workload import Size, namespace_of

_TURNS = 10
_CHANGED = 7  # the number of the service that changes


def change(value: dict[str, object]) -> MeshChange:
    """Return that the object ``value`` is there."""
    parsed = parse(value)
    assert parsed.key is not None
    [for_mesh], _ = split([Change(parsed.key, parsed.object)])
    return for_mesh


def deletion(value: dict[str, object]) -> MeshChange:
    """Return that the object ``value`` is gone."""
    return replace(change(value), object=None)


def proxies(made: Mesh, size: Size) -> list[Session]:
    """Return the sessions of the workload's proxies, connected to ``made``."""
    sessions = []
    for number in range(size.proxies):
        namespace = namespace_of(number, size)
        node = f"sidecar~10.250.{number // 250}.{number % 250 + 1}~p{number}.{namespace}~{namespace}.svc.cluster.local"
        sessions.append(made.connect(proxy_from_node(node, {"LABELS": {"app": f"p{number}"}}), Variant.DELTA))
    return sessions


def mesh(size: Size, *, stop: Callable[[], bool] = never) -> Mesh:
    """Return the mesh of the workload with its proxies connected; the refresh pauses wherever ``stop`` says so, and goes on at once."""
    made = Mesh()
    everything = [workload.service(number, size) for number in range(size.services)]
    everything += [workload.endpoints(number, size) for number in range(size.services)]
    everything += [workload.route(number, size, 10) for number in range(size.routes)]
    made.apply([change(value) for value in everything])
    proxies(made, size)
    while not made.refresh(stop).done:
        pass
    return made


def runs_of_change(made: Mesh, *changes: MeshChange) -> Counter[str]:
    """Return how often which queries run because of ``changes``: at once, or in the refresh."""

    def apply_and_refresh() -> None:
        made.apply(changes)
        made.refresh()

    return runs_of(made, apply_and_refresh)


def runs_of(made: Mesh, act: Callable[[], object]) -> Counter[str]:
    """Return how often which queries run because of ``act``."""
    before = Counter(made.database.runs)
    act()
    return Counter(made.database.runs) - before


Edit: TypeAlias = tuple[MeshChange, ...]


def edits(size: Size, turn: int = 0) -> dict[str, Edit]:
    """Return changes of one thing each, in the order in which they are made; each ``turn`` has others, of namespaces of the same size."""
    number = size.services + -size.services % size.namespaces + turn * size.namespaces + _CHANGED % size.namespaces
    new, new_endpoints = workload.service(number, size), workload.endpoints(number, size)
    route = workload.route(number, size, 10)
    elsewhere = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": f"new{turn}"}}
    return {
        "endpoint": (change(workload.endpoints(_CHANGED, size, moved=turn + 1)),),
        "route": (change(workload.route(_CHANGED, size, timeout_s=20 + turn)),),
        "new_service": (change(new), change(new_endpoints)),
        "new_route": (change(route),),
        "deleted_route": (deletion(route),),
        "deleted_service": (deletion(new), deletion(new_endpoints)),
        "new_namespace": (change({**elsewhere, "spec": {"ports": [{"name": "http", "port": workload.PORT}]}}),),
    }


@dataclass(frozen=True, slots=True)
class RunsOfEdits:
    """Which queries each of the ``edits`` runs, and how often."""

    runs: Mapping[str, Counter[str]]

    @classmethod
    def of(cls, made: Mesh, size: Size) -> RunsOfEdits:
        """Make the edits in ``made``, one after the other."""
        return cls({name: runs_of_change(made, *edit) for name, edit in edits(size).items()})

    def total(self, name: str) -> int:
        """Return how many queries the edit ``name`` runs."""
        return self.runs[name].total()

    def beyond(self, other: RunsOfEdits) -> list[str]:
        """Return what runs more often than in ``other``."""
        return [
            f"{name}: {query} runs {times} times instead of {other.runs[name][query]}"
            for name, runs in self.runs.items()
            for query, times in sorted(runs.items())
            if times > other.runs[name][query]
        ]


def measure(size: Size) -> dict[str, float]:
    """Return for each kind of change the median of what it takes to recompute and publish to every table, and of the queries that run."""
    made = mesh(size)
    gc.collect()
    gc.freeze()
    took: dict[str, list[float]] = defaultdict(list)
    ran: dict[str, list[int]] = defaultdict(list)
    for turn in range(_TURNS):
        for name, edit in edits(size, turn).items():
            begun, before = time.perf_counter(), made.database.runs.total()
            made.apply(edit)
            made.refresh()
            took[name].append((time.perf_counter() - begun) * 1000)
            ran[name].append(made.database.runs.total() - before)
    gc.unfreeze()
    milliseconds = {f"database_{name}_ms": round(statistics.median(values), 4) for name, values in took.items()}
    return milliseconds | {f"database_{name}_runs": statistics.median(values) for name, values in ran.items()}


def bytes_of(made: Mesh, session: Session, edit: Iterable[MeshChange]) -> int:
    """Return how many bytes of resources are to be sent to ``session`` because of ``edit``."""
    made.apply(edit)
    published = made.refresh()
    return sum(len(frame) for frame in _frames(published, session))


def _frames(published: Published, session: Session) -> Iterable[bytes]:
    for table, changed in published.changes:
        if table in session.view.tables:
            for type_url, names in changed.updated.items():
                found = (session.view.get(type_url, name) for name in names)
                yield from (resource.frame for resource in found if resource is not None)


def every(count: int) -> Callable[[], bool]:
    """Return a ``stop`` that says so each time it was asked so often."""
    asked = itertools.count(1)
    return lambda: next(asked) % count == 0
