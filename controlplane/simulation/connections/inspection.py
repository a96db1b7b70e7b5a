"""What listener filters find out about a connection: where it was going, its server name, its protocols.

They run in order, each unless its ``filter_disabled`` fits. An inspector waits for bytes; ``listener_filters_timeout`` (15 s where it is
not set, for ever where it is 0) ends that, and ``continue_on_listener_filters_timeout`` says whether the connection lives on.
https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/listener_filters
"""

from __future__ import annotations

from dataclasses import replace

from envoy.config.listener.v3.listener_components_pb2 import ListenerFilter, ListenerFilterChainMatchPredicate
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2 import OriginalDst
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector

from controlplane.simulation.arrival import RAW_BUFFER, Arrival
from controlplane.simulation.extensions import holds
from controlplane.simulation.result import AwaitsBytes, Closed, Outcome, Stage, Walk
from controlplane.simulation.traffic import PlainHttp, Silence, TlsHello

TLS = "tls"
_DEFAULT_TIMEOUT_S = 15


def inspected(walk: Walk, listener: Listener, arrival: Arrival) -> tuple[Walk, Arrival] | Outcome:
    """Return what the filters of ``listener`` make of ``arrival``, or how it ends there."""
    for each in listener.listener_filters:
        if each.HasField("filter_disabled") and _fits(each.filter_disabled, arrival):
            walk = walk.step(Stage.LISTENER_FILTER, listener.name, each.name, f"is disabled for port {arrival.local.port}")
            continue
        if _inspects(each) and arrival.first_bytes == Silence():
            return _silent(walk, listener, each.name, arrival)
        arrival, says = _seen_by(each, arrival)
        walk = walk.step(Stage.LISTENER_FILTER, listener.name, each.name, says)
    if listener.use_original_dst.value:
        arrival = _restored(arrival)
    return walk, arrival


def _inspects(listener_filter: ListenerFilter) -> bool:
    config = listener_filter.typed_config
    return holds(config, TlsInspector) or holds(config, HttpInspector)


def _silent(walk: Walk, listener: Listener, name: str, arrival: Arrival) -> tuple[Walk, Arrival] | Outcome:
    unset = not listener.HasField("listener_filters_timeout")
    timeout_s = _DEFAULT_TIMEOUT_S if unset else listener.listener_filters_timeout.ToTimedelta().total_seconds()
    if not timeout_s:
        return walk.step(Stage.LISTENER_FILTER, listener.name, name, "waits for bytes, without a time-out").ends(AwaitsBytes())
    if not listener.continue_on_listener_filters_timeout:
        says = f"gets no bytes within {timeout_s:g} s, and the listener does not go on then"
        return walk.step(Stage.LISTENER_FILTER, listener.name, name, says).ends(Closed())
    says = f"gets no bytes within {timeout_s:g} s, and the listener goes on without it"
    walk = walk.step(Stage.LISTENER_FILTER, listener.name, name, says)
    return walk, _restored(arrival) if listener.use_original_dst.value else arrival


def _seen_by(listener_filter: ListenerFilter, arrival: Arrival) -> tuple[Arrival, str]:
    config = listener_filter.typed_config
    if holds(config, OriginalDst):
        return _restored(arrival), f"knows from the operating system that it was going to {arrival.destination}"
    if holds(config, TlsInspector):
        return _seen_by_tls_inspector(arrival)
    if holds(config, HttpInspector):
        return _seen_by_http_inspector(arrival)
    return arrival, "does not change where it goes"


def _restored(arrival: Arrival) -> Arrival:
    return replace(arrival, local=arrival.destination, restored=True)


def _seen_by_tls_inspector(arrival: Arrival) -> tuple[Arrival, str]:
    hello = arrival.first_bytes
    if not isinstance(hello, TlsHello):
        return arrival, "finds no TLS handshake"
    known = replace(arrival, transport=TLS, server_name=hello.server_name.lower(), protocols=hello.protocols)
    offered = f" and the protocols {', '.join(hello.protocols)}" if hello.protocols else ""
    return known, f"finds a TLS handshake with {f'the server name {hello.server_name}' if hello.server_name else 'no server name'}{offered}"


def _seen_by_http_inspector(arrival: Arrival) -> tuple[Arrival, str]:
    if arrival.transport != RAW_BUFFER:
        return arrival, "does not look into TLS"
    if not isinstance(arrival.first_bytes, PlainHttp):
        return arrival, "finds no HTTP"
    return replace(arrival, protocols=(arrival.first_bytes.version.value,)), f"finds {arrival.first_bytes.version.value}"


def _fits(predicate: ListenerFilterChainMatchPredicate, arrival: Arrival) -> bool:
    match predicate.WhichOneof("rule"):
        case "or_match":
            return any(_fits(rule, arrival) for rule in predicate.or_match.rules)
        case "and_match":
            return all(_fits(rule, arrival) for rule in predicate.and_match.rules)
        case "not_match":
            return not _fits(predicate.not_match, arrival)
        case "destination_port_range":
            return predicate.destination_port_range.start <= arrival.local.port < predicate.destination_port_range.end
        case _:
            return predicate.any_match
