"""What a change costs the database alone, without a network: in milliseconds, and in queries that ran."""

from __future__ import annotations

import gc
import statistics
import time
from collections import Counter
from collections.abc import Callable

from controlplane.mesh.mesh import Mesh
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change, MeshChange, split
from controlplane.objects.parse import parse
from controlplane.xds.stream import Variant
from tests.bench import workload
from tests.bench.workload import Size, namespace_of

LIMIT_MS = 0.2
LIMIT_RUNS = 2  # the endpoints of the service's port, and the assignment made of them
_TURNS = 100


def change(value: dict[str, object]) -> MeshChange:
    """Return that the object ``value`` is there."""
    parsed = parse(value)
    assert parsed.key is not None
    [for_mesh], _ = split([Change(parsed.key, parsed.object)])
    return for_mesh


def mesh(size: Size) -> Mesh:
    """Return the mesh of the workload with its proxies connected."""
    made = Mesh()
    everything = [workload.service(number, size) for number in range(size.services)]
    everything += [workload.endpoints(number, size) for number in range(size.services)]
    everything += [workload.route(number, size, 10) for number in range(size.routes)]
    made.apply([change(value) for value in everything])
    for number in range(size.proxies):
        namespace = namespace_of(number, size)
        node = f"sidecar~10.250.{number // 250}.{number % 250 + 1}~p{number}.{namespace}~{namespace}.svc.cluster.local"
        made.connect(proxy_from_node(node, {"LABELS": {"app": f"p{number}"}}), Variant.DELTA)
    made.refresh()
    return made


def measure(size: Size) -> dict[str, float]:
    """Return the medians of a change, in the database alone and with its publication, and how many queries ran."""
    made = mesh(size)
    gc.collect()
    gc.freeze()
    endpoint_ms, endpoint_all, endpoint_runs = _median(made, lambda turn: workload.endpoints(7, size, turn + 1))
    route_ms, route_all, route_runs = _median(made, lambda turn: workload.route(7, size, 20 + turn))
    gc.unfreeze()
    return {
        "one endpoint, recomputed in ms (median)": endpoint_ms,
        "one endpoint, with its publication to every table": endpoint_all,
        "one endpoint, queries that ran": endpoint_runs,
        "one VirtualService, recomputed in ms (median)": route_ms,
        "one VirtualService, with its publication to every table": route_all,
        "one VirtualService, queries that ran": route_runs,
    }


def within(figures: dict[str, float]) -> bool:
    """Return whether ``figures`` keep to the limits: one endpoint recomputes only its own resource, and soon."""
    return figures["one endpoint, recomputed in ms (median)"] <= LIMIT_MS and figures["one endpoint, queries that ran"] <= LIMIT_RUNS


def _median(made: Mesh, value: Callable[[int], dict[str, object]]) -> tuple[float, float, int]:
    """Return the medians with and without publication; those without come last, as their reports are thrown away."""
    whole, alone, ran = [], [], 0
    for turn in range(_TURNS):
        changed = change(value(turn))
        before = Counter(made.database.runs)
        made.apply([changed])
        begun = time.perf_counter()
        made.refresh()
        whole.append((time.perf_counter() - begun) * 1000)
        ran = sum((made.database.runs - before).values())
    for turn in range(_TURNS):
        changed = change(value(_TURNS + turn))
        made.apply([changed])
        begun = time.perf_counter()
        made.database.refresh()
        alone.append((time.perf_counter() - begun) * 1000)
    return round(statistics.median(alone), 4), round(statistics.median(whole), 4), ran
