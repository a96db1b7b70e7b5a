"""Faults that are injected: requests that Envoy answers itself.

The configuration is the most specific there is: of the cluster in a route's weights, the route, the virtual host, the table, the filter.
https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/fault_filter
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from envoy.config.route.v3.route_components_pb2 import FilterConfig
from envoy.extensions.filters.http.fault.v3.fault_pb2 import FaultAbort, HTTPFault
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.simulation.extensions import unpacked
from controlplane.simulation.matching.head import Head
from controlplane.simulation.matching.headers import headers_fit

MODULI = {FractionalPercent.HUNDRED: 100, FractionalPercent.TEN_THOUSAND: 10_000, FractionalPercent.MILLION: 1_000_000}
_HEADER = "x-envoy-fault-abort-request"
_UNAVAILABLE, _INTERNAL_ERROR = 503, 500
# What Envoy answers to requests that are not gRPC for a status of gRPC.
_STATUSES = {0: 200, 1: 499, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 14: _UNAVAILABLE, 16: 401}


def fault_of(http_filter: HttpFilter, specific: Iterable[Mapping[str, AnyMessage]]) -> HTTPFault | None:
    """Return the fault that ``http_filter`` injects by the first of ``specific`` that configures it, else by itself."""
    config = next((configs[http_filter.name] for configs in specific if http_filter.name in configs), http_filter.typed_config)
    wrapped = unpacked(config, FilterConfig)
    if wrapped is not None:
        return None if wrapped.disabled else unpacked(wrapped.config, HTTPFault)
    return unpacked(config, HTTPFault)


def abort_of(fault: HTTPFault, cluster: str, head: Head) -> tuple[int, int, int] | None:
    """Return with which status how many of how many requests with ``head``, on their way to ``cluster``, are answered."""
    other = fault.upstream_cluster and fault.upstream_cluster != cluster
    if not fault.HasField("abort") or other or not headers_fit(fault.headers, head):
        return None
    status = _status(fault.abort, head)
    modulus = MODULI[fault.abort.percentage.denominator]
    count = min(fault.abort.percentage.numerator, modulus)
    return (status, count, modulus) if status and count else None


def _status(abort: FaultAbort, head: Head) -> int | None:
    match abort.WhichOneof("error_type"):
        case "http_status":
            return abort.http_status
        case "grpc_status":
            grpc = (head.value("content-type") or "").startswith("application/grpc")
            return 200 if grpc else _STATUSES.get(abort.grpc_status, _INTERNAL_ERROR)
        case _:
            value = head.value(_HEADER) or ""
            return int(value) if value.isdigit() else None
