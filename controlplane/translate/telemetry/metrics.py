"""Istio's metrics by Envoy's own access logger ``envoy.access_loggers.stats``: counters and histograms whose labels are formats.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/access_loggers/stats/v3/stats.proto
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog, AccessLogFilter
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import ON_DOWNSTREAM_TLS_HANDSHAKE, TcpProxy
from google.protobuf.struct_pb2 import Value

from controlplane.envoy.packing import Fields, json_value, pack, typed_struct
from controlplane.ir.telemetry.metrics import CountedBy, CountedMetric, ServiceNames, StandardMetric
from controlplane.model.telemetry.label_formats import of_cluster, of_endpoint, of_peer
from controlplane.model.telemetry.workloads import SUFFIXES, UNKNOWN

NAME = "envoy.access_loggers.stats"
SCOPE = "wasmcustom"  # begins the names of statistics; Envoy's page leaves it out once it has loaded a WebAssembly module
_CONFIG = "envoy.extensions.access_loggers.stats.v3.Config"
_TAG_INPUT = "envoy.extensions.matching.common_inputs.stats.v3.StatTagValueInput"
_TRANSFORM = "envoy.extensions.matching.actions.transform_stat.v3.TransformStat"
_MAX_REMEMBERED = 4096
_EARLY_BYTES = 64 << 10  # that a client may send before there is a connection to the application, and which wait for it


@dataclass(frozen=True, slots=True)
class Counting:
    """How some requests or connections are counted.

    ``inbound``: they come to the workload that counts; otherwise it makes them. ``mutual``: they come by mutual TLS. ``service``: what
    they are for, where that is known of all of them.
    """

    by: CountedBy
    inbound: bool
    mutual: bool = False
    service: ServiceNames | None = None


class _Label(NamedTuple):
    """A label: the format of its value, and what stands in the place of some values."""

    format: str
    rules: Value | None = None


class _Shape(NamedTuple):
    """How a metric is counted: its name, in which list of the logger's, what of, and when of a connection's life."""

    name: str
    fields: Mapping[str, object]
    log_type: AccessLogType
    histogram: bool = False


def _counter(name: str, log_type: AccessLogType, value: str = "") -> _Shape:
    return _Shape(f"istio_{name}", {"value_format": value} if value else {"value_fixed": 1}, log_type)


def _histogram(name: str, unit: str, value: str) -> _Shape:
    return _Shape(f"istio_{name}", {"unit": unit, "value_format": value}, AccessLogType.DownstreamEnd, histogram=True)


_SHAPES = {
    StandardMetric.REQUEST_COUNT: _counter("requests_total", AccessLogType.DownstreamEnd),
    StandardMetric.REQUEST_DURATION: _histogram("request_duration_milliseconds", "Milliseconds", "%DURATION%"),
    StandardMetric.REQUEST_SIZE: _histogram("request_bytes", "Bytes", "%BYTES_RECEIVED%"),
    StandardMetric.RESPONSE_SIZE: _histogram("response_bytes", "Bytes", "%BYTES_SENT%"),
    StandardMetric.TCP_OPENED_CONNECTIONS: _counter("tcp_connections_opened_total", AccessLogType.TcpUpstreamConnected),
    StandardMetric.TCP_CLOSED_CONNECTIONS: _counter("tcp_connections_closed_total", AccessLogType.TcpConnectionEnd),
    # Totals of a connection, which come with each periodic log again: they are counted when it ends.
    StandardMetric.TCP_SENT_BYTES: _counter("tcp_sent_bytes_total", AccessLogType.TcpConnectionEnd, "%BYTES_SENT%"),
    StandardMetric.TCP_RECEIVED_BYTES: _counter("tcp_received_bytes_total", AccessLogType.TcpConnectionEnd, "%BYTES_RECEIVED%"),
}


def http_loggers(counting: Counting | None) -> tuple[AccessLog, ...]:
    """Return what counts requests by ``counting``."""
    return _loggers(counting, http=True) if counting else ()


def count_connections(proxy: TcpProxy, counting: Counting | None) -> None:
    """Have ``proxy`` count the connections that it sends on, by ``counting``."""
    loggers = _loggers(counting, http=False) if counting else ()
    if counting is None or not loggers:
        return
    for log in proxy.access_log:
        _at_end(log)
    proxy.access_log.extend(loggers)
    proxy.access_log_options.flush_access_log_on_connected = True
    if counting.mutual:  # otherwise it connects, and counts that, before it is known who the peer is
        proxy.upstream_connect_mode = ON_DOWNSTREAM_TLS_HANDSHAKE
        proxy.max_early_data_bytes.value = _EARLY_BYTES


def _at_end(log: AccessLog) -> None:
    """Have ``log`` speak of connections when they end alone, as it does where nothing is counted when they begin."""
    ended = AccessLogFilter(log_type_filter={"types": [AccessLogType.TcpConnectionEnd]})
    log.filter.CopyFrom(AccessLogFilter(and_filter={"filters": [log.filter, ended]}) if log.HasField("filter") else ended)


@lru_cache(maxsize=_MAX_REMEMBERED)
def _loggers(counting: Counting, *, http: bool) -> tuple[AccessLog, ...]:
    labels = dict(_labels(counting, http=http))
    by_log_type: dict[AccessLogType, list[CountedMetric]] = {}
    for counted in counting.by.metrics:
        log_type = _SHAPES[counted.metric].log_type
        if (log_type == AccessLogType.DownstreamEnd) is http:
            by_log_type.setdefault(log_type, []).append(counted)
    return tuple(_logger(log_type, metrics, labels) for log_type, metrics in sorted(by_log_type.items()))


def _logger(log_type: AccessLogType, metrics: Iterable[CountedMetric], labels: Mapping[str, _Label]) -> AccessLog:
    counters: list[Fields] = []
    histograms: list[Fields] = []
    tags: dict[object, Value] = {}  # by overrides: most metrics have the same
    for counted in metrics:
        shape = _SHAPES[counted.metric]
        if counted.labels not in tags:
            tags[counted.labels] = _tags(_overridden(labels, counted.labels))
        listed = histograms if shape.histogram else counters
        listed.append({"stat": {"name": shape.name, "tags": tags[counted.labels]}, **shape.fields})
    config: Fields = {"stats_scope": {"prefix": SCOPE, "enable_eviction": True}}
    config |= {name: found for name, found in (("counters", counters), ("histograms", histograms)) if found}
    return AccessLog(name=NAME, filter={"log_type_filter": {"types": [log_type]}}, typed_config=pack(typed_struct(_CONFIG, config)))


def _tags(labels: Iterable[tuple[str, _Label]]) -> Value:
    return json_value(
        [{"name": name, "value_format": label.format, **({"rules": label.rules} if label.rules else {})} for name, label in labels]
    )


def _overridden(labels: Mapping[str, _Label], overrides: Iterable[tuple[str, str | None]]) -> Iterator[tuple[str, _Label]]:
    """Yield ``labels`` by name, with the formats ``overrides`` in the place of some."""
    own: dict[str, _Label | None] = {**labels, **{name: None if text is None else _Label(text, _OR_UNKNOWN) for name, text in overrides}}
    yield from ((name, label) for name, label in own.items() if label is not None)


def _labels(counting: Counting, *, http: bool) -> Iterator[tuple[str, _Label]]:
    """Yield the labels of Istio's metrics for ``counting``, by name; what is missing is ``unknown``.

    An empty label is none to Prometheus, and who asks by it passes the series over.
    """
    yield "reporter", _Label("destination" if counting.inbound else "source")
    own, other = ("destination", "source") if counting.inbound else ("source", "destination")
    known_peer = counting.mutual or not counting.inbound
    for suffix in SUFFIXES:
        yield f"{own}_{suffix}", _Label(counting.by.names.by_suffix[suffix])
        of_other = of_peer(suffix) if counting.inbound else of_endpoint(suffix)
        yield f"{other}_{suffix}", _Label(of_other, _OR_UNKNOWN) if known_peer else _Label(UNKNOWN)
    side = "DOWNSTREAM" if counting.inbound else "UPSTREAM"
    for name, of in ((own, "LOCAL"), (other, "PEER")):
        yield f"{name}_principal", _Label(f"%{side}_{of}_URI_SAN%", _OR_UNKNOWN) if known_peer else _Label(UNKNOWN)
    yield from _of_service(counting.service)
    if http:
        yield "request_protocol", _Label("%REQ(content-type)%", _GRPC_OR_HTTP)
        yield "response_code", _Label("%RESPONSE_CODE%")
        yield "grpc_response_status", _Label("%GRPC_STATUS_NUMBER%")
    else:
        yield "request_protocol", _Label("tcp")
    yield "response_flags", _Label("%RESPONSE_FLAGS%")
    security = ("mutual_tls" if counting.mutual else "none") if counting.inbound else UNKNOWN
    yield "connection_security_policy", _Label(security)


def _of_service(service: ServiceNames | None) -> Iterator[tuple[str, _Label]]:
    constants = (service.host, service.name, service.namespace) if service else (None, None, None)
    for key, constant in zip(("service", "service_name", "service_namespace"), constants, strict=True):
        yield f"destination_{key}", _Label(of_cluster(key), _OR_UNKNOWN) if constant is None else _Label(constant)


def _action(value: str) -> Fields:
    transform = {"@type": f"type.googleapis.com/{_TRANSFORM}", "update_tag": {"new_tag_value": value}}
    return {"action": {"name": "set", "typed_config": transform}}


def _tag_rules(tree: Mapping[str, object], otherwise: str = "") -> Value:
    read = {"input": {"name": "tag", "typed_config": {"@type": f"type.googleapis.com/{_TAG_INPUT}"}}}
    return json_value({"matcher_tree": {**read, **tree}, **({"on_no_match": _action(otherwise)} if otherwise else {})})


_OR_UNKNOWN = _tag_rules({"exact_match_map": {"map": {"": _action(UNKNOWN)}}})
_GRPC_OR_HTTP = _tag_rules({"prefix_match_map": {"map": {"application/grpc": _action("grpc")}}}, "http")
