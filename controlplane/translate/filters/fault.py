"""Injected delays and aborts: ``http[].fault`` of a VirtualService."""

from __future__ import annotations

from envoy.extensions.filters.http.fault.v3.fault_pb2 import FaultAbort, HTTPFault

from controlplane.objects.networking.virtual_service import Abort, Delay, HTTPRoute
from controlplane.translate.common import fraction, milliseconds
from controlplane.translate.filters.base import HttpFilter, outbound

_GRPC_CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED"),
    *("RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)
_ALWAYS = 100.0


def _of_route(route: HTTPRoute) -> HTTPFault | None:
    if route.fault is None:
        return None
    fault = HTTPFault()
    if route.fault.delay and route.fault.delay.fixed_delay:
        fault.delay.fixed_delay.CopyFrom(milliseconds(route.fault.delay.fixed_delay))
        fault.delay.percentage.CopyFrom(fraction(_share(route.fault.delay)))
    if route.fault.abort:
        fault.abort.CopyFrom(_abort(route.fault.abort))
    return fault


def _share(delay: Delay) -> float:
    if delay.percentage is not None:
        return delay.percentage.value
    return delay.percent or _ALWAYS


def _abort(abort: Abort) -> FaultAbort:
    percentage = fraction(abort.percentage.value if abort.percentage else _ALWAYS)
    if abort.http_status is not None:
        return FaultAbort(http_status=abort.http_status, percentage=percentage)
    name = abort.grpc_status or "UNAVAILABLE"
    return FaultAbort(grpc_status=int(name) if name.isdecimal() else _GRPC_CODES.index(name), percentage=percentage)


FAULT = HttpFilter("envoy.filters.http.fault", outbound(HTTPFault()), _of_route)
