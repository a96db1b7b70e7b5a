"""Experiments of Chaos Toolkit: what of them a drill can be, and the journal that their users read.

The steady state may be asked for by probes of ours and by HTTP, the method inject faults of ours; what runs programs or other people's
modules is refused, as it would run on the control plane's machine.
https://chaostoolkit.org/reference/api/experiment/, https://chaostoolkit.org/reference/api/journal/
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controlplane.drills.judging.report import DrillVerdict, Report
from controlplane.errors import UserError
from controlplane.model.keys import NAVARCH
from controlplane.objects.drills.drill import SORTS
from controlplane.objects.drills.rules import camel
from controlplane.untyped import Json, items, section, text

ACTIONS, PROBES = "navarch.drills.actions", "navarch.drills.probes"
HYPOTHESIS = "steady-state-hypothesis"
_FAULTS = {re.sub(r"(?=[A-Z])", "_", camel(sort)).lower(): camel(sort) for sort in SORTS}  # as functions are called there
_FIGURES = {"success_rate": "successRate", "p50": "p50", "p95": "p95", "p99": "p99", "rate": "rate"}
_AT_MOST = ("p50", "p95", "p99")
_DEFAULT_DURATION = "10s"
_PLAIN_HTTP_TIMEOUT_S = 5.0


class NotConverted(UserError):
    """Something of an experiment that no drill can be; the text says what, and what to do instead."""


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """A request whose answer says whether all is well: one of ``statuses``."""

    name: str
    url: str
    method: str
    headers: Mapping[str, str]
    timeout_s: float
    statuses: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ConvertedExperiment:
    """A drill, as a document, the requests that are made before it and after it, and what there is to know of it."""

    document: Json
    probes: tuple[HttpProbe, ...] = ()
    notes: tuple[str, ...] = ()


def is_experiment(document: Mapping[str, object]) -> bool:
    """Return whether ``document`` is an experiment of Chaos Toolkit."""
    return "apiVersion" not in document and "method" in document and ("title" in document or HYPOTHESIS in document)


def converted_experiment(experiment: Mapping[str, object]) -> ConvertedExperiment:
    """Return the drill that ``experiment`` is. Raises NotConverted."""
    objectives: list[Json] = []
    probes: list[HttpProbe] = []
    for probe in items(section(experiment, HYPOTHESIS), "probes"):
        provider = section(probe, "provider")
        if provider.get("type") == "http":
            probes.append(_http_probe(probe, provider))
        else:
            objectives.append(_objective(probe, provider))
    faults, notes = _method(items(experiment, "method"))
    if not faults:
        raise NotConverted(f"its method has no action of {ACTIONS}: expected one of {', '.join(sorted(_FAULTS))}")
    if not objectives:
        services = list(dict.fromkeys(text(fault, "service") for fault in faults))
        objectives = [{"service": service, "successRate": 99.0} for service in services]
        notes.append("its hypothesis asks nothing of a service: at least 99 % of requests are to succeed")
    if items(experiment, "rollbacks"):
        notes.append("its rollbacks are left out: faults are taken back by themselves, whatever happens")
    name = re.sub(r"[^a-z0-9]+", "-", text(experiment, "title").lower()).strip("-")[:50].strip("-") or "experiment"
    document: Json = {
        "apiVersion": f"{NAVARCH}/v1alpha1",
        "kind": "Drill",
        "metadata": {"name": name, "namespace": text(section(experiment, "configuration"), "namespace") or "default"},
        "spec": {"steadyState": objectives, "inject": faults, "order": "Sequence"},
    }
    return ConvertedExperiment(document, tuple(probes), tuple(notes))


def _method(activities: Sequence[Json]) -> tuple[list[Json], list[str]]:
    faults: list[Json] = []
    notes: list[str] = []
    for activity in activities:
        provider = section(activity, "provider")
        name = text(activity, "name")
        if activity.get("type") == "probe":
            notes.append(f"the probe {name} of its method is left out: what a drill sees is measured all the time")
            continue
        _check_provider(name, provider, ACTIONS)
        function = text(provider, "func")
        if function not in _FAULTS:
            raise NotConverted(f"the action {name}: expected one of {', '.join(sorted(_FAULTS))}, found {function}")
        faults.append({"name": name[:63], **_fault(_FAULTS[function], section(provider, "arguments"))})
    return faults, notes


def _fault(sort: str, arguments: Json) -> Json:
    """Return the fault ``sort`` by ``arguments``: those of all faults are as in a Drill, the others are the fault's own."""
    common = ("service", "port", "caller", "side", "instances", "match", "percentage", "duration")
    shared = {name: arguments[name] for name in common if name in arguments}
    return {"duration": _DEFAULT_DURATION, **shared, sort: {name: value for name, value in arguments.items() if name not in common}}


def _objective(probe: Json, provider: Json) -> Json:
    name = text(probe, "name")
    _check_provider(name, provider, PROBES)
    function = text(provider, "func")
    if function not in _FIGURES:
        raise NotConverted(f"the probe {name}: expected one of {', '.join(_FIGURES)}, found {function}")
    bound = _bound(name, probe.get("tolerance"), upper=function in _AT_MOST)
    figure: Json = {_FIGURES[function]: f"{bound:g}ms" if function in _AT_MOST else float(bound)}
    return {"name": name[:63], **section(provider, "arguments"), **figure}


def _bound(name: str, tolerance: object, *, upper: bool) -> float:
    """Return the end of the range ``tolerance`` that counts: of durations the upper one."""
    if isinstance(tolerance, dict) and tolerance.get("type") == "range":
        tolerance = tolerance.get("range")
    if isinstance(tolerance, list) and len(tolerance) == 2 and all(isinstance(end, int | float) for end in tolerance):
        return float(tolerance[1] if upper else tolerance[0])
    if isinstance(tolerance, int | float) and not isinstance(tolerance, bool):
        return float(tolerance)
    raise NotConverted(f"the probe {name}: expected a number or a range as tolerance")


def _check_provider(name: str, provider: Json, module: str) -> None:
    kind = text(provider, "type")
    if kind != "python":
        raise NotConverted(f"{name}: a provider {kind or 'of no type'} is not run here; expected python with the module {module}, or http")
    if text(provider, "module") != module:
        raise NotConverted(f"{name}: the module {text(provider, 'module')} is not run here; expected {module}")


def _http_probe(probe: Json, provider: Json) -> HttpProbe:
    name, url = text(probe, "name"), text(provider, "url")
    tolerance = probe.get("tolerance")
    statuses = tolerance if isinstance(tolerance, list) else [tolerance]
    if not url.startswith(("http://", "https://")) or not all(isinstance(status, int) for status in statuses):
        raise NotConverted(f"the probe {name}: expected a URL, and a status or several as tolerance")
    timeout = provider.get("timeout")
    headers = {key: str(value) for key, value in section(provider, "headers").items()}
    seconds = float(timeout) if isinstance(timeout, int | float) else _PLAIN_HTTP_TIMEOUT_S
    return HttpProbe(name, url, text(provider, "method") or "GET", headers, seconds, tuple(s for s in statuses if isinstance(s, int)))


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What became of a probe: the status of its answer, or why there was none."""

    name: str
    met: bool
    output: int | str


def journal(experiment: Mapping[str, object], report: Report, before: Sequence[ProbeResult], after: Sequence[ProbeResult]) -> Json:
    """Return the journal of the run of ``experiment`` that ``report`` is of, and whose probes found what is in ``before`` and ``after``."""
    met_before = report.verdict is not DrillVerdict.NOT_RUN and all(result.met for result in before)
    met_after = report.verdict is DrillVerdict.HELD and all(result.met for result in after)
    status = {DrillVerdict.ABORTED: "aborted", DrillVerdict.NOT_RUN: "failed"}.get(report.verdict, "completed" if met_before else "failed")
    return {
        "chaoslib-version": "1.0.0",
        "platform": "navarch",
        "node": "navarch",
        "experiment": dict(experiment),
        "start": _time(report.started_at),
        "end": _time(report.started_at + report.seconds),
        "duration": report.seconds,
        "status": status,
        "deviated": report.verdict is DrillVerdict.DEVIATED or (report.verdict is DrillVerdict.HELD and not met_after),
        "steady_states": {"before": _steady_state(before, report, met=met_before), "after": _steady_state(after, report, met=met_after)},
        "run": [
            {
                "activity": {"type": "action", "name": fault.name or fault.sort},
                "status": "succeeded" if fault.in_force_at is not None else "failed",
                "start": None if fault.in_force_at is None else _time(report.started_at + fault.in_force_at),
                "end": None if fault.gone_at is None else _time(report.started_at + fault.gone_at),
                "output": fault.model_dump(by_alias=True),
            }
            for fault in report.faults
        ],
        "rollbacks": [],
        "navarch": {"verdict": report.verdict, "reason": report.reason, "conclusions": list(report.conclusions)},
    }


def _steady_state(results: Sequence[ProbeResult], report: Report, *, met: bool) -> Json:
    probes: list[Json] = [
        {"activity": {"type": "probe", "name": result.name}, "output": result.output, "tolerance_met": result.met} for result in results
    ]
    probes += [
        {"activity": {"type": "probe", "name": f"{each.edge} {each.figure}"}, "output": each.found, "tolerance_met": each.held}
        for each in report.objectives
    ]
    return {"steady_state_met": met, "probes": probes}


def _time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()
