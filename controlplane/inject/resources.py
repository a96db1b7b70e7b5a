"""What a proxy may use of its node, and what Envoy makes of that: its memory, and its threads."""

from __future__ import annotations

from math import ceil

from controlplane.inject import annotations as say
from controlplane.inject.annotation_values import BadValue, quantity_value
from controlplane.inject.annotations import Annotations
from controlplane.kube.json import Json, section

DEFAULT_RESOURCES: Json = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
_HEAP = 0.8  # of the limit of memory
_ENDLESS = 1 << 60
_BOUNDS = ("requests", "limits")


def proxy_resources(said: Annotations, own: Json) -> Json:
    """Return what the proxy may use: by the annotations alone, where one is ``said``, as Istio does; its ``own`` container comes first."""
    given = {
        "requests": {"cpu": said.get(say.PROXY_CPU), "memory": said.get(say.PROXY_MEMORY)},
        "limits": {"cpu": said.get(say.PROXY_CPU_LIMIT), "memory": said.get(say.PROXY_MEMORY_LIMIT)},
    }
    found: Json = {bound: {what: each for what, each in values.items() if each} for bound, values in given.items()}
    by_annotations: Json = {bound: each for bound, each in found.items() if each} or DEFAULT_RESOURCES
    both = {bound: {**section(by_annotations, bound), **section(own, bound)} for bound in _BOUNDS}
    return {**own, **{bound: each for bound, each in both.items() if each}}


def heap_bytes(used: Json) -> int | None:
    """Return how large Envoy's heap may become, None where nothing limits it."""
    found = int((_amount(used, "limits", "memory") or 0) * _HEAP)
    return found if 0 < found < _ENDLESS else None


def worker_threads(used: Json) -> int:
    """Return how many threads Envoy works with."""
    cores = _amount(used, "limits", "cpu") or _amount(used, "requests", "cpu")
    return max(1, ceil(cores)) if cores else 2


def _amount(used: Json, bound: str, what: str) -> float | None:
    """Return what ``used`` has of ``what``, None where that is nothing, or written in a way that only the API server reads."""
    try:
        return quantity_value(str(section(used, bound).get(what, "")))
    except BadValue:
        return None
