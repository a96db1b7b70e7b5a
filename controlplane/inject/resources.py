"""What a proxy may use of its node, and what Envoy makes of that: its memory, and its threads."""

from __future__ import annotations

from math import ceil

from controlplane.inject import annotations as keys
from controlplane.inject.annotation_values import BadValue, quantity_value
from controlplane.inject.annotations import Annotations
from controlplane.untyped import Json, section

DEFAULT_RESOURCES: Json = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
_HEAP = 0.8  # of the limit of memory
_UNLIMITED = 1 << 60
_BOUNDS = ("requests", "limits")


def proxy_resources(annotations: Annotations, written: Json) -> Json:
    """Return what the proxy may use: by the ``annotations`` alone where there are any, as Istio does; ``written`` comes first."""
    quantities = {
        "requests": {"cpu": annotations.get(keys.PROXY_CPU), "memory": annotations.get(keys.PROXY_MEMORY)},
        "limits": {"cpu": annotations.get(keys.PROXY_CPU_LIMIT), "memory": annotations.get(keys.PROXY_MEMORY_LIMIT)},
    }
    annotated: Json = {bound: {name: amount for name, amount in amounts.items() if amount} for bound, amounts in quantities.items()}
    by_annotations: Json = {bound: amounts for bound, amounts in annotated.items() if amounts} or DEFAULT_RESOURCES
    merged = {bound: {**section(by_annotations, bound), **section(written, bound)} for bound in _BOUNDS}
    return {**written, **{bound: amounts for bound, amounts in merged.items() if amounts}}


def heap_bytes(used: Json) -> int | None:
    """Return how large Envoy's heap may become, None where nothing limits it."""
    size = int((_amount(used, "limits", "memory") or 0) * _HEAP)
    return size if 0 < size < _UNLIMITED else None


def worker_threads(used: Json) -> int:
    """Return how many threads Envoy works with."""
    cores = _amount(used, "limits", "cpu") or _amount(used, "requests", "cpu")
    return max(1, ceil(cores)) if cores else 2


def _amount(used: Json, bound: str, resource: str) -> float | None:
    """Return what ``used`` has of ``resource``, None where that is nothing, or written in a way that only the API server reads."""
    try:
        return quantity_value(str(section(used, bound).get(resource, "")))
    except BadValue:
        return None
