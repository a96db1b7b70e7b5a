"""``python -m tests.bench.check``: what does not depend on the machine, at 1,000 services and at 5,000; exits 1 beyond the limits.

Counted are the queries that run because of one change, those of a refresh in slices against those of a whole one, and the bytes that a
proxy is to be sent.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

from tests.bench.recompute import RunsOfEdits, bytes_of, edits, every, mesh, proxies
from tests.bench.workload import Size

SMALL = Size(proxies=20, services=1000, endpoints=2, routes=200)
LARGE = replace(SMALL, services=5000, routes=1000)
MOST_RUNS = {"endpoint": 3, "route": 10, "new_namespace": 400}  # of queries; of everything else:
MOST = 60
IN_SLICES = 1.1  # of the runs of a whole refresh
MOST_BYTES = {"endpoint": 1_000, "route": 1_000, "new_service": 4_000, "new_route": 1_000}
LONGER_NAMES = 64  # bytes that a larger mesh may have more, for longer names and addresses


def faults() -> Iterator[str]:
    """Yield what is beyond the limits."""
    small, large = (mesh(size) for size in (SMALL, LARGE))
    runs = [RunsOfEdits.of(made, size) for made, size in ((small, SMALL), (large, LARGE))]
    yield from runs[1].beyond(runs[0])
    for name in runs[1].runs:
        print(f"{name}: {runs[0].total(name)} queries run at {SMALL.services} services, {runs[1].total(name)} at {LARGE.services}")
        if runs[1].total(name) > MOST_RUNS.get(name, MOST):
            yield f"{name}: {runs[1].total(name)} queries run, {MOST_RUNS.get(name, MOST)} at most"
    whole = small_first_view(1_000_000_000)
    sliced = small_first_view(20)
    print(f"a first view: {whole} queries run in one piece, {sliced} in slices")
    if sliced > IN_SLICES * whole:
        yield f"a refresh in slices runs {sliced} queries instead of {whole}"
    yield from _too_many_bytes([_bytes(size) for size in (SMALL, LARGE)])


def small_first_view(slice_runs: int) -> int:
    """Return how many queries a first view runs where the refresh pauses each time that so many queries have begun."""
    return mesh(replace(SMALL, proxies=2), stop=every(slice_runs)).database.runs.total()


def _bytes(size: Size) -> dict[str, int]:
    made = mesh(replace(size, proxies=0))
    [session, *_] = proxies(made, replace(size, proxies=1))
    made.refresh()
    return {name: bytes_of(made, session, edit) for name, edit in edits(size, turn=1).items()}


def _too_many_bytes(found: list[dict[str, int]]) -> Iterator[str]:
    small, large = found
    for name, sent in large.items():
        print(f"{name}: {small[name]} bytes to each proxy at {SMALL.services} services, {sent} at {LARGE.services}")
        if sent > small[name] + LONGER_NAMES:
            yield f"{name}: {sent} bytes to each proxy at {LARGE.services} services, {small[name]} at {SMALL.services}"
        if sent > MOST_BYTES.get(name, sent):
            yield f"{name}: {sent} bytes to each proxy, {MOST_BYTES[name]} at most"


def main() -> int:
    """Count, print, and return 1 if a limit was passed."""
    found = list(faults())
    for fault in found:
        print(f"BEYOND: {fault}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
