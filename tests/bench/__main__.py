"""``python -m tests.bench``: simulated sidecars on a big mesh, served by the program itself; exits 1 beyond the limits."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.bench import measure, recompute, workload
from tests.bench.measure import Figures
from tests.bench.workload import Size

MB = 1_000_000
# What a bare grpc.aio server takes when the swarm is written in Go (2 cores): what the Python swarm takes beyond it is its own.
GO_CONFIGURED_S, GO_ENDPOINT_MS, GO_ROUTE_MS = 2.5, 33.0, 31.0
# No more than this is ever taken off: else a machine that is busy while the bare server is measured would flatter the real one.
MOST_S, MOST_MS = 1.0, 40.0


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure: measured, on the bare server, less the swarm's own share, and its limit."""

    name: str
    unit: str
    raw: float
    bare: float
    net: float
    limit: float

    @property
    def held(self) -> bool:
        """Return whether the figure is within its limit."""
        return self.net <= self.limit


def rows(real: Figures, bare: Figures, size: Size) -> list[Row]:
    """Return the table: from each raw figure the swarm's own share is taken, which is what the bare server took more than with Go's."""

    def net(raw: float, bare_raw: float, go: float, most: float = MOST_MS) -> float:
        return raw - min(most, max(0.0, bare_raw - go))

    memory = (real.rss_after - real.rss_before) / MB / size.proxies
    swarm_memory = (bare.rss_after - bare.rss_before) / MB / size.proxies
    endpoint, bare_endpoint = real.endpoint_p50, bare.endpoint_p50
    p99, bare_p99 = real.endpoint_p99, bare.endpoint_p99
    route, bare_route = real.route_p50, bare.route_p50
    configured, bare_configured = real.configured_s, bare.configured_s
    return [
        Row("all configured", "s", configured, bare_configured, net(configured, bare_configured, GO_CONFIGURED_S, MOST_S), 5.0),
        Row("endpoint p50", "ms", endpoint, bare_endpoint, net(endpoint, bare_endpoint, GO_ENDPOINT_MS), 50.0),
        Row("endpoint p99", "ms", p99, bare_p99, net(p99, bare_endpoint, GO_ENDPOINT_MS), 100.0),
        Row("VirtualService p50", "ms", route, bare_route, net(route, bare_route, GO_ROUTE_MS), 60.0),
        Row("VirtualService sent", "MB", real.route_bytes / MB, bare.route_bytes / MB, real.route_bytes / MB, 1.0),
        Row("memory a proxy", "MB", memory, swarm_memory, memory - swarm_memory, 0.2),
    ]


async def _run(size: Size, repetitions: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="navarch-bench-") as name:
        folder = Path(name)
        (folder / "manifests").mkdir()
        workload.write(folder / "manifests", size)
        real, swarm = await measure.real(folder, size, repetitions)
        bare = await measure.bare(folder, size, repetitions, swarm)
        return rows(real, bare, size)


def main() -> int:
    """Measure, print, and return 1 if a limit was passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--proxies", type=int, default=500)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    size = Size(proxies=given.proxies, services=given.services, routes=min(200, given.services))
    table = uvloop.run(_run(size, given.repetitions))
    computed = recompute.measure(size)
    if given.json:
        print(json.dumps({"figures": [{**dataclasses.asdict(row), "held": row.held} for row in table], "recompute": computed}, indent=2))
    else:
        print(f"{size.proxies} sidecars in {size.namespaces} namespaces, {size.services} services x {size.endpoints} endpoints")
        print(f"{'':20} {'measured':>10} {'bare':>10} {'net':>10} {'limit':>10}")
        for row in table:
            verdict = "" if row.held else "BEYOND"
            print(f"{row.name:20} {row.raw:10.2f} {row.bare:10.2f} {row.net:10.2f} {row.limit:10.2f} {row.unit:3} {verdict}")
        print("net: measured, less what the swarm itself takes: bare less a bare server's with a swarm in Go,")
        print(f"     {MOST_S:g} s or {MOST_MS:g} ms at most (p99: the median's share; memory: bare as a whole)")
        for name, figure in computed.items():
            print(f"{name}: {figure}")
    return 0 if all(row.held for row in table) and recompute.within(computed) else 1


if __name__ == "__main__":
    sys.exit(main())
