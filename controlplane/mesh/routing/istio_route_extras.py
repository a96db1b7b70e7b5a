"""From the headers, CORS and faults of VirtualServices to values of our own."""

from __future__ import annotations

from controlplane.ir.extras import NO_CHANGES, Cors, Delayed, Fault, GrpcAbort, HeaderChanges, HttpAbort
from controlplane.ir.text import Exact
from controlplane.mesh.routing.istio_matches import text_match
from controlplane.objects.networking.rules.http_actions import GRPC_STATUS
from controlplane.objects.networking.virtual_service import Abort, CorsPolicy, Delay, HeaderOperations, HTTPFaultInjection

_AUTHORITY = ("host", ":authority")
_ALWAYS = 100.0
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
    """Return the authority that ``operations`` on requests set, for which Envoy has a field of its own; empty: they do not."""
    set_to = sorted(operations.set.items()) if operations else []
    return next((value for name, value in set_to if name.lower() in _AUTHORITY), "")


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


def fault(injected: HTTPFaultInjection) -> Fault:
    """Return the faults that are ``injected``."""
    delay = injected.delay
    return Fault(
        delay=Delayed(delay.fixed_delay, _share(delay)) if delay and delay.fixed_delay else None,
        abort=_abort(injected.abort) if injected.abort else None,
    )


def _share(delay: Delay) -> int:
    return per_million(delay.percentage.value if delay.percentage is not None else delay.percent or _ALWAYS)


def _abort(abort: Abort) -> HttpAbort | GrpcAbort:
    share = per_million(abort.percentage.value if abort.percentage else _ALWAYS)
    if abort.http_status is not None:
        return HttpAbort(abort.http_status, share)
    name = abort.grpc_status or "UNAVAILABLE"
    return GrpcAbort(int(name) if name.isdecimal() else GRPC_STATUS.index(name), share)
