"""What is gone is forgotten: adding and removing services again and again leaves memory flat (``make prove``: 1,000, ten times)."""

from __future__ import annotations

import gc
import sys

from controlplane.mesh.mesh import Mesh
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import MeshChange
from controlplane.xds.stream import Variant
from tests.bench.recompute import change
from tests.bench.workload import Size, endpoints, route, service
from tests.support.proofs import TIMES

SIZE = Size(services=1000 if TIMES > 1 else 200, endpoints=2, routes=20)
ROUNDS = 10 if TIMES > 1 else 6


def test_adding_and_removing_services_again_and_again_leaves_memory_flat() -> None:
    mesh = Mesh()
    mesh.connect(proxy_from_node("sidecar~10.1.1.1~a.ns1~ns1.svc.cluster.local", {}), Variant.DELTA)
    there = [change(make(number, SIZE)) for number in range(SIZE.services) for make in (service, endpoints)]
    there += [change(route(number, SIZE, 5)) for number in range(SIZE.routes)]
    gone = [MeshChange(each.key, None) for each in there]

    left = []
    for _ in range(ROUNDS):
        for batch in (there, gone):
            mesh.apply(batch)
            assert mesh.refresh().failed == ()
        gc.collect()
        left.append(sys.getallocatedblocks())

    print(f"{left[0]} blocks of memory after one round, {left[-1]} after {ROUNDS}")
    assert left[-1] - left[1] < (ROUNDS - 2) * SIZE.services / 2
    assert mesh.keys == ()
