"""Injected delays and aborts."""

from __future__ import annotations

from typing import assert_never

from envoy.extensions.filters.http.fault.v3.fault_pb2 import FaultAbort, HTTPFault

from controlplane.ir.extras import GrpcAbort, HttpAbort
from controlplane.ir.rules import HttpRule
from controlplane.translate.addresses import fraction, milliseconds
from controlplane.translate.filters.base import HttpFilter, outbound


def _of_rule(rule: HttpRule) -> HTTPFault | None:
    if rule.fault is None:
        return None
    fault = HTTPFault()
    if delay := rule.fault.delay:
        fault.delay.fixed_delay.CopyFrom(milliseconds(delay.wait_ms))
        fault.delay.percentage.CopyFrom(fraction(delay.per_million))
    if rule.fault.abort:
        fault.abort.CopyFrom(_abort(rule.fault.abort))
    return fault


def _abort(abort: HttpAbort | GrpcAbort) -> FaultAbort:
    match abort:
        case HttpAbort(status, per_million):
            return FaultAbort(http_status=status, percentage=fraction(per_million))
        case GrpcAbort(status, per_million):
            return FaultAbort(grpc_status=status, percentage=fraction(per_million))
        case _:
            assert_never(abort)


FAULT = HttpFilter("envoy.filters.http.fault", outbound(HTTPFault()), _of_rule)
