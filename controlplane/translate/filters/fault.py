"""Injected delays and aborts: by rules, and before a workload those that requests ask for in headers."""

from __future__ import annotations

from typing import assert_never

from envoy.extensions.filters.http.fault.v3.fault_pb2 import FaultAbort, HTTPFault

from controlplane.ir.extras import GrpcAbort, HttpAbort
from controlplane.ir.rules import HttpRule
from controlplane.translate.addresses import fraction, milliseconds
from controlplane.translate.filters.base import Chain, HttpFilter

_ALL = 1_000_000


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


def _of_chain(chain: Chain) -> tuple[HTTPFault, ...]:
    if not chain.inbound:
        return (HTTPFault(),)  # which the rules of routes are told to
    if not chain.requested_faults:
        return ()
    asked = HTTPFault()
    asked.delay.header_delay.SetInParent()
    asked.delay.percentage.CopyFrom(fraction(_ALL))
    asked.abort.header_abort.SetInParent()
    asked.abort.percentage.CopyFrom(fraction(_ALL))
    return (asked,)


FAULT = HttpFilter("envoy.filters.http.fault", _of_chain, _of_rule)
