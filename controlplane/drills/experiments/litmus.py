"""Litmus' experiment ``pod-delete``, as a drill that takes instances out of a service.

https://litmuschaos.github.io/litmus/experiments/categories/pods/pod-delete/
"""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.drills.experiments.chaos_toolkit import ConvertedExperiment, NotConverted
from controlplane.model.keys import NAVARCH
from controlplane.untyped import Json, items, section, text

GROUP, KIND = "litmuschaos.io", "ChaosEngine"
_EXPERIMENT = "pod-delete"
_ENVIRONMENT = "TOTAL_CHAOS_DURATION, PODS_AFFECTED_PERC"


def is_chaos_engine(document: Mapping[str, object]) -> bool:
    """Return whether ``document`` is a ChaosEngine of Litmus."""
    return document.get("kind") == KIND and text(document, "apiVersion").partition("/")[0] == GROUP


def converted_chaos_engine(document: Mapping[str, object]) -> ConvertedExperiment:
    """Return the drill that the ChaosEngine ``document`` is. Raises NotConverted."""
    spec = section(document, "spec")
    experiments = items(spec, "experiments")
    names = [text(experiment, "name") for experiment in experiments]
    if names != [_EXPERIMENT]:
        raise NotConverted(f"of Litmus, {_EXPERIMENT} alone is run as a drill, found {', '.join(names) or 'no experiment'}")
    application = section(spec, "appinfo")
    label, equals, service = text(application, "applabel").partition("=")
    if not equals or not service or "," in service:
        raise NotConverted("expected spec.appinfo.applabel as app=NAME, where NAME is the service whose instances are to go")
    components = section(section(experiments[0], "spec"), "components")
    environment = {text(entry, "name"): text(entry, "value") for entry in items(components, "env")}
    seconds = _number(environment, "TOTAL_CHAOS_DURATION", 15)
    if _number(environment, "PODS_AFFECTED_PERC", 0):
        raise NotConverted("PODS_AFFECTED_PERC is not read: say in a Drill how many instances are to go (instanceRemoval.instances)")
    fault: Json = {
        "name": _EXPERIMENT,
        "service": service,
        "instances": {"matchLabels": {label: service}},
        "duration": f"{seconds}s",
        "instanceRemoval": {"instances": 1},
    }
    metadata: Json = {
        "name": text(section(document, "metadata"), "name") or _EXPERIMENT,
        "namespace": text(application, "appns") or text(section(document, "metadata"), "namespace") or "default",
    }
    document_of_drill: Json = {
        "apiVersion": f"{NAVARCH}/v1alpha1",
        "kind": "Drill",
        "metadata": metadata,
        "spec": {"steadyState": [{"service": service, "successRate": 99.0}], "inject": [fault]},
    }
    left_out = sorted(environment.keys() - {"TOTAL_CHAOS_DURATION", "PODS_AFFECTED_PERC"})
    notes = [
        "the pod is not deleted: its endpoint is taken out of the service, for the whole time and not every CHAOS_INTERVAL",
        "its steady state is that at least 99 % of requests succeed",
        *([f"left out: {', '.join(left_out)}; {_ENVIRONMENT} are read"] if left_out else []),
    ]
    return ConvertedExperiment(document_of_drill, notes=tuple(notes))


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(name, "") or str(default)
    if not (value.isascii() and value.isdecimal()):
        raise NotConverted(f"{name}: expected a number, found {value[:40]}")
    return int(value)
