"""From the headers, CORS and faults of VirtualServices to values of our own."""

from __future__ import annotations

from dataclasses import replace

from controlplane.ir.extras import NO_CHANGES, Cors, Delayed, Fault, GrpcAbort, HeaderChanges, HttpAbort
from controlplane.ir.text import Exact
from controlplane.mesh.routing.istio_matches import text_match
from controlplane.objects.networking.rules.http_actions import GRPC_STATUS
from controlplane.objects.networking.virtual_service import Abort, CorsPolicy, Delay, HeaderOperations, HTTPFaultInjection

_AUTHORITY = ("host", ":authority")
_ASKED = "x-envoy-fault"
_PER_CENT = 10_000  # in millionths


def per_million(percent: float) -> int:
    """Return ``percent`` of 100 in millionths, as exact as Envoy takes it."""
    return round(percent * _PER_CENT)


def changes(operations: HeaderOperations | None) -> HeaderChanges:
    """Return the changes of ``operations``, sorted by name, without those of the authority."""
    if operations is None:
        return NO_CHANGES
    return HeaderChanges(
        set=tuple((name, value) for name, value in sorted(operations.set.items()) if name.lower() not in _AUTHORITY),
        add=tuple((name, value) for name, value in sorted(operations.add.items()) if name.lower() not in _AUTHORITY),
        remove=tuple(sorted(operations.remove)),
    )


def authority_of(operations: HeaderOperations | None) -> str:
    """Return the authority that ``operations`` on requests set or add, as there is one only; empty: they do not."""
    if operations is None:
        return ""
    written = (*sorted(operations.set.items()), *sorted(operations.add.items()))
    return next((value for name, value in written if name.lower() in _AUTHORITY), "")


def cors(policy: CorsPolicy) -> Cors:
    """Return what ``policy`` allows."""
    return Cors(
        origins=tuple(text_match(origin) for origin in policy.allow_origins) or tuple(Exact(origin) for origin in policy.allow_origin),
        methods=policy.allow_methods,
        headers=policy.allow_headers,
        expose=policy.expose_headers,
        max_age_s=None if policy.max_age is None else policy.max_age // 1000,
        credentials=policy.allow_credentials,
        forward_unmatched=policy.unmatched_preflights != "IGNORE",
    )


def fault(injected: HTTPFaultInjection) -> Fault | None:
    """Return the faults that are ``injected``; ``None`` where they hit no request, as without a percentage."""
    delay = _delay(injected.delay) if injected.delay else None
    abort = _abort(injected.abort) if injected.abort else None
    return Fault(delay, abort) if delay or abort else None


def requesting(injected: Fault, changed: HeaderChanges) -> HeaderChanges:
    """Return ``changed`` with headers by which the callee is asked for ``injected``; shares are in millionths there, too."""
    asked: dict[str, int] = {}
    if injected.delay:
        asked |= {f"{_ASKED}-delay-request": injected.delay.wait_ms, f"{_ASKED}-delay-request-percentage": injected.delay.per_million}
    match injected.abort:
        case HttpAbort(status, share):
            asked |= {f"{_ASKED}-abort-request": status, f"{_ASKED}-abort-request-percentage": share}
        case GrpcAbort(status, share):
            asked |= {f"{_ASKED}-abort-grpc-request": status, f"{_ASKED}-abort-request-percentage": share}
        case None:
            pass
    return replace(changed, set=(*changed.set, *((name, str(value)) for name, value in sorted(asked.items()))))


def _delay(delay: Delay) -> Delayed | None:
    share = per_million(delay.percentage.value if delay.percentage else delay.percent)
    return Delayed(delay.fixed_delay, share) if delay.fixed_delay and share else None


def _abort(abort: Abort) -> HttpAbort | GrpcAbort | None:
    share = per_million(abort.percentage.value) if abort.percentage else 0
    if not share:
        return None
    if abort.http_status is not None:
        return HttpAbort(abort.http_status, share)
    name = abort.grpc_status or "UNAVAILABLE"
    return GrpcAbort(int(name) if name.isdecimal() else GRPC_STATUS.index(name), share)
