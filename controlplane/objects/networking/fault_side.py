"""Which proxies make the faults of a VirtualService: the callers', as with Istio, or by an annotation of ours those of who is called.

At the caller a fault comes before retries, timeouts and ejections, so that none of these sees it; at the callee all do.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.objects.networking.virtual_service import VirtualService
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding

FAULT_SIDE = "navarch.dev/fault-side"
CALLEE = "callee"
_SIDES = ("caller", CALLEE)


def faults_at_callee(virtual_service: VirtualService) -> bool:
    """Return whether the faults of ``virtual_service`` are made by who is called."""
    return virtual_service.meta.annotations.get(FAULT_SIDE) == CALLEE


def check_fault_side(virtual_service: VirtualService) -> Iterator[Finding]:
    """Yield what is wrong with the annotation of ``virtual_service``."""
    written = virtual_service.meta.annotations.get(FAULT_SIDE)
    path = f"metadata.annotations.{FAULT_SIDE}"
    if written is None:
        return
    if written not in _SIDES:
        yield rules.warning(path, "Ineffective", f"expected {' or '.join(_SIDES)}: its faults are made by the callers")
    elif not any(route.fault or route.delegate for route in virtual_service.spec.http):
        yield rules.warning(path, "Ineffective", "none of its routes has a fault")
