"""What the filters of a chain make of a connection: it ends at the TCP proxy or at the HTTP connection manager.

https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/tcp_proxy_filter
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.extensions.filters.network.ext_authz.v3.ext_authz_pb2 import ExtAuthz
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager
from envoy.extensions.filters.network.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, DownstreamTlsContext

from controlplane.simulation.access.facts import AccessFacts, connection_facts
from controlplane.simulation.access.filters import Judged, judged_by_others, judged_by_rbac
from controlplane.simulation.arrival import Arrival
from controlplane.simulation.extensions import holds, unpacked
from controlplane.simulation.matching.texts import in_words, text_fits
from controlplane.simulation.requests.manager import managed
from controlplane.simulation.resources import Resources
from controlplane.simulation.result import Answered, AwaitsBytes, AwaitsRequests, Closed, Outcome, Stage, Undecided, Walk
from controlplane.simulation.traffic import PlainHttp, Request, Silence, TlsHello
from controlplane.simulation.upstream.clusters import Balancing, Unusable, endpoints_of
from controlplane.simulation.upstream.subsets import merged_criteria

_BAD_REQUEST = 400
_NOTING = ("envoy.filters.network.set_filter_state",)  # what refuses nothing, and sends nothing elsewhere


def filtered(
    walk: Walk, label: str, chain: FilterChain, arrival: Arrival, request: Request | None, resources: Resources
) -> Iterator[Outcome]:
    """Yield what becomes of ``arrival``, on which ``request`` is made, in ``chain``."""
    secured = _secured(walk, label, chain, arrival)
    if isinstance(secured, Outcome):
        yield secured
        return
    walk, arrival = secured
    facts = connection_facts(arrival)
    for each in chain.filters:
        if (proxy := unpacked(each.typed_config, TcpProxy)) is not None:
            yield from _proxied(walk, label, proxy, arrival, resources)
            return
        if (manager := unpacked(each.typed_config, HttpConnectionManager)) is not None:
            yield from _requested(walk, label, manager, arrival, request, resources, terminates=_terminates(chain))
            return
        judged = _judged(walk, each, facts)
        if not judged.allowed:
            yield judged.walk.ends(Closed())
            return
        walk, facts = judged.walk, judged.facts
    yield walk.step(Stage.NETWORK_FILTER, label, "", "the chain has no filter that sends connections on").ends(Closed())


def _terminates(chain: FilterChain) -> bool:
    return holds(chain.transport_socket.typed_config, DownstreamTlsContext)


def _secured(walk: Walk, label: str, chain: FilterChain, arrival: Arrival) -> tuple[Walk, Arrival] | Outcome:
    """Return the way past the handshake that ``chain`` asks for, if it does, and what is known of the client then."""
    context = unpacked(chain.transport_socket.typed_config, DownstreamTlsContext)
    if context is None:
        return walk, arrival
    if not isinstance(arrival.first_bytes, TlsHello):
        return walk.step(Stage.NETWORK_FILTER, label, "TLS", "the chain expects TLS, and the client does not begin it").ends(Closed())
    required = context.require_client_certificate.value
    checks = context.common_tls_context.WhichOneof("validation_context_type") is not None
    if not required and not (checks and arrival.principal):
        return walk.step(Stage.NETWORK_FILTER, label, "TLS", "the handshake is taken to succeed"), arrival
    if not arrival.principal:
        says = "the chain asks for the client's certificate (mutual TLS), and it has none"
        return walk.step(Stage.NETWORK_FILTER, label, "mutual TLS", says).ends(Closed())
    wanted = _checked(context.common_tls_context).match_typed_subject_alt_names
    if wanted and not any(text_fits(each.matcher, arrival.principal) for each in wanted):
        asked = " or ".join(in_words(each.matcher) for each in wanted)
        says = f"the client is {arrival.principal}, and not {asked}"
        return walk.step(Stage.NETWORK_FILTER, label, "mutual TLS", says).ends(Closed())
    says = f"the client shows the certificate of {arrival.principal}"
    return walk.step(Stage.NETWORK_FILTER, label, "mutual TLS", says), replace(arrival, peer=arrival.principal)


def _checked(common: CommonTlsContext) -> CertificateValidationContext:
    if common.HasField("combined_validation_context"):
        return common.combined_validation_context.default_validation_context
    return common.validation_context


def _judged(walk: Walk, network_filter: Filter, facts: AccessFacts) -> Judged:
    """Return what ``network_filter``, which is not the last, makes of the connection."""
    name = network_filter.name
    if (rbac := unpacked(network_filter.typed_config, RBAC)) is not None:
        return judged_by_rbac(walk, name, rbac, facts)
    if (asking := unpacked(network_filter.typed_config, ExtAuthz)) is not None:
        return judged_by_others(walk, name, asking, facts)
    return Judged(walk if name in _NOTING else walk.passing(Stage.NETWORK_FILTER, name), facts)


def _proxied(walk: Walk, label: str, proxy: TcpProxy, arrival: Arrival, resources: Resources) -> Iterator[Outcome]:
    """Yield where the TCP proxy ``proxy`` sends the whole connection: one cluster, or one of several by their weights."""
    match proxy.WhichOneof("cluster_specifier"):
        case "cluster":
            reason = "the TCP proxy sends whole connections there"
            yield _sent(
                walk.step(Stage.NETWORK_FILTER, label, proxy.cluster, reason),
                proxy.cluster,
                proxy.metadata_match,
                proxy,
                arrival,
                resources,
            )
        case "weighted_clusters":
            total = sum(each.weight for each in proxy.weighted_clusters.clusters)
            for each in proxy.weighted_clusters.clusters:
                taken = walk.step(Stage.NETWORK_FILTER, label, each.name, f"the TCP proxy sends {each.weight} of {total} connections there")
                criteria = merged_criteria(proxy.metadata_match, each.metadata_match)
                if each.weight:
                    yield _sent(taken.by_chance(Fraction(each.weight, total)), each.name, criteria, proxy, arrival, resources)
        case _:
            yield walk.step(Stage.NETWORK_FILTER, label, "", "what chooses its cluster is not simulated").ends(Undecided())


def _sent(walk: Walk, cluster: str, criteria: Metadata, proxy: TcpProxy, arrival: Arrival, resources: Resources) -> Outcome:
    hashes = "the client's address" if proxy.hash_policy else ""
    found = endpoints_of(walk, cluster, resources, arrival, Balancing(criteria=criteria, hashes=hashes))
    if isinstance(found, Unusable):
        return found.walk.ends(Undecided() if found.undecided else Closed(cluster))
    return found


def _requested(
    walk: Walk,
    label: str,
    manager: HttpConnectionManager,
    arrival: Arrival,
    request: Request | None,
    resources: Resources,
    *,
    terminates: bool,
) -> Iterator[Outcome]:
    """Yield what the HTTP connection manager ``manager`` makes of ``request``, or of what is no request."""
    table = manager.rds.route_config_name if manager.HasField("rds") else manager.route_config.name
    walk = walk.step(Stage.NETWORK_FILTER, label, table, "the HTTP connection manager routes requests by it")
    readable = terminates or isinstance(arrival.first_bytes, PlainHttp)
    if request is not None and readable:
        yield from managed(walk, manager, arrival, request, resources, secure=terminates)
    elif readable:
        yield walk.ends(AwaitsRequests(table))
    elif arrival.first_bytes == Silence():
        yield walk.ends(AwaitsBytes())
    else:
        yield walk.step(Stage.NETWORK_FILTER, label, table, "what the client sends is no HTTP").ends(Answered(_BAD_REQUEST))
