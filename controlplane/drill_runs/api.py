"""What `navarch drill` asks a control plane: to run drills, how they go on, and what they found. docs/decisions/drills-running.md."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict

from fastapi import FastAPI, HTTPException
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict

from controlplane.drill_runs.runner import DrillRun, RunProgress
from controlplane.drill_runs.runs import DrillRefused, DrillRuns, LiveRun
from controlplane.drills.judging.report import Report
from controlplane.drills.measuring.figures import figures
from controlplane.drills.planning.plan import PlannedRun
from controlplane.model.keys import DRILL, Key
from controlplane.model.problems import Severity
from controlplane.objects.drills.drill import Drill
from controlplane.objects.parse import parse

_LINES = "application/x-ndjson"


class RunRequest(BaseModel):
    """Which drill is to be run: one that is among the objects, as NAMESPACE/NAME, or a whole document."""

    model_config = ConfigDict(extra="forbid")

    name: str = ""
    document: dict[str, object] | None = None
    seed: int | None = None


def drill_app(runs: DrillRuns, object_of: Callable[[Key], object]) -> FastAPI:
    """Return the API over ``runs``; ``object_of`` finds the drills that are among the objects."""
    app = FastAPI(title="Navarch drills", docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/v1/preview")
    async def preview(asked: RunRequest) -> dict[str, object]:
        return preview_row(runs.preview(_drill(asked, object_of), asked.seed or 0))

    @app.post("/v1/runs")
    async def start(asked: RunRequest) -> StreamingResponse:
        try:
            live = runs.start(_drill(asked, object_of), asked.seed)
        except DrillRefused as refused:
            raise HTTPException(409, str(refused)) from None
        return StreamingResponse(_lines(live), media_type=_LINES)

    @app.get("/v1/runs")
    async def list_runs() -> list[dict[str, object]]:
        return [*map(_running_row, runs.running()), *map(_report_row, runs.reports())]

    @app.get("/v1/runs/{run_id}")
    async def report(run_id: str) -> Response:
        found = runs.report(run_id)
        if found is None:
            raise HTTPException(404, f"there is no report of a run {run_id[:40]}")
        return Response(found.json_text(), media_type="application/json")

    @app.post("/v1/runs/{run_id}/abort")
    async def abort(run_id: str) -> dict[str, object]:
        if not runs.abort(run_id, "navarch drill abort"):
            raise HTTPException(404, f"no run {run_id[:40]} goes on")
        return {"aborted": run_id}

    return app


def _drill(asked: RunRequest, object_of: Callable[[Key], object]) -> Drill:
    if asked.document is None:
        namespace, _, name = asked.name.rpartition("/")
        found = object_of(DRILL.key(namespace or "default", name))
        if not isinstance(found, Drill):
            raise HTTPException(404, f"there is no Drill {asked.name[:200]}")
        return found
    parsed = parse(asked.document)
    if not isinstance(parsed.object, Drill):
        errors = [f"{problem.field}: {problem.message}" for problem in parsed.problems if problem.severity is Severity.ERROR]
        raise HTTPException(422, "; ".join(errors) or "expected a Drill of navarch.dev/v1alpha1")
    return parsed.object


def preview_row(planned: PlannedRun) -> dict[str, object]:
    """Return what is ``planned``, as JSON."""
    return {
        "drill": planned.drill,
        "reaches": planned.reaches,
        "traffic": [asdict(traffic) for traffic in planned.traffic],
        "measured": [edge.name for edge in planned.edges],
        "proxies": len(planned.proxies),
        "seconds": planned.timing.before_s + planned.timing.after_s + (sum if planned.timing.sequence else max)(planned.timing.faults_s),
        "warnings": planned.warnings,
        "refused": planned.refused,
    }


async def _lines(live: LiveRun) -> AsyncIterator[str]:
    yield json.dumps({"run": live.run.name.id, "drill": live.run.planned.drill, "seed": live.run.name.seed}) + "\n"
    async for news in live.steps():
        line = {"report": json.loads(news.json_text())} if isinstance(news, Report) else {"progress": progress_row(live.run, news)}
        yield json.dumps(line) + "\n"


def progress_row(run: DrillRun, progress: RunProgress) -> Mapping[str, object]:
    """Return how ``run`` goes on, as JSON."""
    names = [about.name or about.sort for about in run.planned.abouts]
    return {
        "at": round(progress.now, 2),
        "phase": progress.state.phase.value,
        "faults": {name: fault.step.value for name, fault in zip(names, progress.state.faults, strict=True)},
        "edges": [
            {"name": edge.name, "requests": whole.requests, "failures": whole.failures, "ejected": counts.values.get("ejected", 0)}
            for edge, counts in zip(run.planned.edges, progress.sample.counts, strict=True)
            for whole in [figures(counts, progress.now)]
        ],
        "read": progress.sample.read,
        "silent": progress.sample.silent,
    }


def _running_row(run: DrillRun) -> dict[str, object]:
    return {
        "run": run.name.id,
        "drill": run.planned.drill,
        "phase": run.state.phase.value,
        "verdict": None,
        "startedAt": run.name.started_at,
    }


def _report_row(report: Report) -> dict[str, object]:
    return {"run": report.id, "drill": report.drill, "phase": "ended", "verdict": report.verdict, "startedAt": report.started_at}
