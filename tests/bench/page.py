"""docs/performance.md: what the runs of ``make bench`` found, and on which machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import LABELS, ROWS, Row, exponent, told
from tests.bench.plot import Line, Panel, svg
from tests.bench.runs import Run

_METHOD = (Path(__file__).parent / "method.md").read_text()
_CORES = "Each replica has a core of its own, and reads an API server that shares these cores with the sidecars."
_SCOPED = "A `Sidecar` in each namespace, whose `egress` is `./*`."
_OBSERVED = "A `Telemetry` in the root namespace that has the metrics of `prometheus` and the access log of `envoy` for all."


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the runs were made: ``busy`` is its load before the first of them, in processes that would run."""

    cores: int
    processor: str
    memory_gb: float
    versions: str
    busy: float

    def __str__(self) -> str:
        loaded = f" **Loaded:** other processes were running (load {self.busy:.1f})." if self.busy > self.cores / 2 else ""
        return f"{self.cores} cores ({self.processor}), {self.memory_gb:.0f} GB, {self.versions}.{loaded}"


def machine() -> Machine:
    """Return what is known of this machine."""
    told_of = Path("/proc/cpuinfo").read_text()
    processor = next((line.partition(":")[2].strip() for line in told_of.splitlines() if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    linux, grpcio = platform.release().partition("-")[0], importlib.metadata.version("grpcio")
    versions = f"Linux {linux}, Python {platform.python_version()}, grpcio {grpcio}"
    return Machine(len(os.sched_getaffinity(0)), processor, memory, versions, os.getloadavg()[0])


def page(runs: Sequence[Run], where: Machine, repetitions: int) -> str:
    """Return the page."""
    languages = {run.language for run in runs if run.language}
    parts = [
        "# Performance\n\nWritten by `make bench`; its figures are of the machine that it ran on.\n",
        f"**Machine:** {where}\n",
        _METHOD.format(language=" and ".join(sorted(languages)), repetitions=repetitions),
        "## Against istiod, and against what is to be reached\n",
        "\n".join(_table(runs)) + "\n",
        *_section(runs, _Section("services", "Growth with services (100 sidecars)", "![](performance.svg)", grows=True)),
        *_section(runs, _Section("proxies", "Growth with sidecars (1,000 services)")),
        *_section(runs, _Section("namespaces", "Namespaces (1,000 services, 100 sidecars)")),
        *_section(runs, _Section("scoped", "Sidecar scoping (1,000 services, 500 sidecars)", _SCOPED)),
        *_section(runs, _Section("observed", "Metrics and access logs (1,000 services, 500 sidecars)", _OBSERVED)),
        *_section(runs, _Section("beside", "One beside the other, and again (1,000 services)", compared=False)),
        *_section(runs, _Section("replicas", "More cores are more replicas (1,000 services, 500 sidecars)", _CORES)),
        *_failures(runs),
    ]
    return "\n".join(parts)


def plot(runs: Sequence[Run]) -> str:
    """Return the diagrams of growth, as SVG."""
    grown = _of(runs, "services")
    changes = {
        "endpoint, first": "endpoint_first_ms",
        "VirtualService, first": "route_first_ms",
        "new Service, recomputed": "database_new_service_ms",
        "deleted, recomputed": "database_deleted_service_ms",
    }
    whole = {"connect, all": "connect_s", "ready": "ready_s"}
    return svg(
        (
            Panel("100 sidecars configured, and ready", "services", "s", [Line(name, points(grown, key)) for name, key in whole.items()]),
            Panel("a change", "services", "ms", [Line(name, points(grown, key)) for name, key in changes.items()]),
        )
    )


def points(runs: Iterable[Run], figure: str) -> list[tuple[float, float]]:
    """Return ``figure`` by the number of services."""
    return sorted((float(run.plan.size.services), run.figures[figure]) for run in runs if figure in run.figures)


def beyond(runs: Sequence[Run]) -> list[str]:
    """Return what is not as it is to be, in words."""
    found = [f"not measured: {run.plan}: {run.failed}" for run in runs if run.failed]
    for row in ROWS:
        run = _run_of(runs, row)
        if run is not None and not _held(row, run, runs):
            found.append(f"{row.text}: {told(run.figures[row.name], row.unit)}, to reach: {row.target}")
    return found


def _table(runs: Sequence[Run]) -> Iterable[str]:
    yield "| | istiod | Navarch | bare | Navarch / bare | grows by | to reach | |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in ROWS:
        run = _run_of(runs, row)
        if run is None:
            continue
        figure, bare = run.figures[row.name], run.figures.get(f"bare_{row.name}")
        grows = exponent(points(_of(runs, "services"), row.name))
        cells = (
            row.text,
            row.istiod,
            f"**{told(figure, row.unit)}**",
            "" if bare is None else told(bare, row.unit),
            "" if not bare else f"{figure / bare:.2f}",
            "" if grows is None else f"{grows:.2f}",
            row.target,
            "" if _held(row, run, runs) else "missed",
        )
        yield f"| {' | '.join(cells)} |"


def _run_of(runs: Sequence[Run], row: Row) -> Run | None:
    """Return the run that has the figure of ``row``."""
    found = (run for run in runs if run.plan.group in ("table", "services", "beside") and row.name in run.figures)
    return next((run for run in found if (run.plan.size.services, run.plan.size.proxies) == (row.services, row.proxies)), None)


def _held(row: Row, run: Run, runs: Sequence[Run]) -> bool:
    grows = exponent(points(_of(runs, "services"), row.name)) if row.exponent is not None else None
    return run.figures[row.name] <= row.limit(run.figures) and (grows is None or row.exponent is None or grows <= row.exponent)


def _of(runs: Iterable[Run], group: str) -> list[Run]:
    """Return the runs that belong to ``group``: those of its own, and those of another that are its as well."""
    return [run for run in runs if group in (run.plan.group, *run.plan.also_of)]


@dataclass(frozen=True, slots=True)
class _Section:
    """A table of the page: the runs of ``group``, a column each; ``compared``: by figures that several of them have, else by the others."""

    group: str
    title: str
    text: str = ""
    grows: bool = False
    compared: bool = True

    def head(self, run: Run) -> str:
        """Return what ``run`` differs by from the others."""
        size = run.plan.size
        heads = {
            "services": f"{size.services:,} services",
            "proxies": f"{size.proxies:,} sidecars",
            "namespaces": f"{size.namespaces} namespaces",
            "scoped": "scoped" if size.scoped else "not scoped",
            "observed": "by Telemetry, of all" if size.observed else "without",
            "replicas": f"{run.plan.replicas} replica{'s' * (run.plan.replicas > 1)}",
        }
        return heads.get(self.group, f"{size.proxies} sidecars: {', '.join(run.plan.also)}")

    def names(self, runs: Sequence[Run]) -> list[str]:
        """Return which figures of ``runs`` it has."""
        times = {name: sum(name in run.figures for run in runs) for name in LABELS}
        if len(runs) == 1:
            return [name for name, count in times.items() if count]
        return [name for name, count in times.items() if (count > 1 if self.compared else 0 < count < len(runs))]


def _section(runs: Sequence[Run], section: _Section) -> Iterable[str]:
    found = [run for run in _of(runs, section.group) if run.figures]
    if not found:
        return
    found.sort(key=lambda run: (run.plan.size.services, run.plan.size.proxies, run.plan.size.namespaces, run.plan.replicas))
    heads = [section.head(run) for run in found] + ["grows by"] * section.grows
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for name in section.names(found):
        text, unit = LABELS[name]
        cells = [told(run.figures[name], unit) if name in run.figures else "" for run in found]
        if section.grows:
            grows = exponent(points(found, name))
            cells.append("" if grows is None else f"{grows:.2f}")
        lines.append(f"| {text} | {' | '.join(cells)} |")
    yield f"## {section.title}\n"
    if section.text:
        yield f"{section.text}\n"
    yield "\n".join(lines) + "\n"


def _failures(runs: Iterable[Run]) -> Iterable[str]:
    failed = [f"- {run.plan}: {run.failed}" for run in runs if run.failed]
    if failed:
        yield "## Not measured\n\n" + "\n".join(failed) + "\n"
