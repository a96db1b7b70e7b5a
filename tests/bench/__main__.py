"""``python -m tests.bench``: simulated sidecars on a big mesh, served by the program itself; exits 1 where a target is missed."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import uvloop

from tests.bench import measure, page
from tests.bench.figures import LABELS, exponent, told
from tests.bench.runs import ALSO, Plan, Run, run
from tests.bench.workload import Size

_BESIDE = ("services", "reconnect", "rollout", "left")
_SIZES = (100, 1000, 5000, 10_000)
PAGE = (
    Plan(group="table", size=Size(), also_of=("proxies", "scoped", "observed", "beside"), also=_BESIDE, bare=True),
    Plan(group="beside", size=Size(), also=("slow", "churn-200", "churn-1000")),
    *(
        Plan(
            group="services",
            size=Size(proxies=100, services=services, routes=min(200, services // 5)),
            also_of=("proxies", "namespaces") if services == 1000 else (),
            also=("services",),
            bare=services == 5000,
            database=True,
        )
        for services in _SIZES
    ),
    *(Plan(group="proxies", size=Size(proxies=proxies)) for proxies in (1, 1000)),
    *(Plan(group="namespaces", size=Size(proxies=100, namespaces=namespaces)) for namespaces in (1, 100)),
    Plan(group="scoped", size=Size(scoped=True), also=("services",)),
    Plan(group="observed", size=Size(observed=True), also=("services",)),
    Plan(group="beside", size=Size(proxies=100), also=("envoys",)),
    *(Plan(group="replicas", size=Size(), on_kubernetes=True, replicas=replicas) for replicas in (1, 2)),
)

GROUPS = tuple(dict.fromkeys(plan.group for plan in PAGE))


def numbers(text: str) -> list[int]:
    """Return the numbers in ``text``, which commas divide."""
    return [int(each) for each in text.split(",")]


def main() -> int:
    """Run, print, and return 1 where something is not as it is to be."""
    given = _arguments()
    plans = [plan for plan in PAGE if plan.group in given.groups] if given.page else _plans(given)
    where = page.machine()
    runs = []
    for plan in plans:
        begun = time.perf_counter()
        repetitions = given.repetitions if plan.group == "table" else max(2, given.repetitions // 2)
        runs.append(uvloop.run(run(plan, repetitions, go={"go": True, "python": False}.get(given.swarm))))
        print(f"{plan}: {runs[-1].failed or 'measured'}, {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    if given.page:
        given.page.write_text(page.page(runs, where, given.repetitions))
        given.page.with_suffix(".svg").write_text(page.plot(runs))
    elif given.json:
        print(json.dumps([each.json() for each in runs], indent=2))
    else:
        _tell(runs)
    found = page.beyond(runs)
    for fault in found:
        print(f"BEYOND: {fault}", file=sys.stderr)
    return 1 if found else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__, epilog="Of several numbers each is run.")
    parser.add_argument("--proxies", type=numbers, default=[500], metavar="N,...")
    parser.add_argument("--services", type=numbers, default=[1000], metavar="N,...")
    parser.add_argument("--namespaces", type=numbers, default=[20], metavar="N,...")
    parser.add_argument("--scoped", action="store_true", help="a Sidecar in each namespace, whose proxies see their own namespace alone")
    parser.add_argument("--observed", action="store_true", help="metrics and access logs of every sidecar, by Telemetry")
    parser.add_argument("--also", nargs="+", choices=ALSO, default=[], help="what is measured beside the table's own rows")
    parser.add_argument("--database", action="store_true", help="what changes cost the database alone")
    parser.add_argument("--no-bare", action="store_true", help="without the server that sends ready bytes")
    parser.add_argument("--repetitions", type=int, default=measure.REPETITIONS)
    parser.add_argument("--kubernetes", action="store_true", help="keep the mesh at a real API server, instead of in a folder")
    parser.add_argument("--replicas", type=numbers, default=[1], metavar="N,...", help="with --kubernetes: on a core each")
    parser.add_argument("--swarm", choices=("go", "python"), help="in which language; Go where it is there")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--page", type=Path, metavar="FILE", help="measure all that the page has, and write it and its diagram")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=GROUPS, help="with --page: these of its tables alone")
    given = parser.parse_args()
    if given.scoped and "envoys" in given.also:
        parser.error("--also envoys goes without --scoped: an Envoy is ready when it has every cluster")
    return given


def _plans(given: argparse.Namespace) -> list[Plan]:
    return [
        Plan(
            group="table",
            size=Size(
                proxies=proxies,
                services=services,
                namespaces=namespaces,
                routes=min(200, services),
                scoped=given.scoped,
                observed=given.observed,
            ),
            also=tuple(given.also),
            bare=not given.no_bare,
            database=given.database,
            on_kubernetes=given.kubernetes,
            replicas=replicas,
        )
        for proxies, services, namespaces, replicas in itertools.product(given.proxies, given.services, given.namespaces, given.replicas)
    ]


def _tell(runs: Sequence[Run]) -> None:
    for each in runs:
        print(f"\n{each.plan} (sidecars in {each.language})")
        for name, (text, unit) in LABELS.items():
            if name in each.figures:
                print(f"  {text:90} {told(each.figures[name], unit):>12}")
    if len({each.plan.size.services for each in runs}) > 1:
        print("\ngrows with services by the power of")
        for text, grows in _growth(runs):
            print(f"  {text:90} {grows:12.2f}")


def _growth(runs: Sequence[Run]) -> Iterable[tuple[str, float]]:
    for name, (text, _) in LABELS.items():
        grows = exponent(page.points(runs, name))
        if grows is not None:
            yield text, grows


if __name__ == "__main__":
    sys.exit(main())
