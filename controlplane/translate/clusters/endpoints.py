"""The endpoints of a cluster."""

from __future__ import annotations

from itertools import groupby

from envoy.config.core.v3.base_pb2 import Locality, Metadata
from envoy.config.core.v3.health_check_pb2 import HealthStatus
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from controlplane.model.services import Endpoint, Health
from controlplane.translate.addresses import endpoint_at, socket_address
from controlplane.translate.clusters.upstream_tls import MATCH, TLS_MODE
from controlplane.translate.tls.mesh import ISTIO

_MAX_WEIGHT = 2**32 - 1
_MUTUAL = Metadata(filter_metadata={MATCH: ParseDict({TLS_MODE: ISTIO}, Struct())})


def load_assignment(name: str, endpoints: tuple[Endpoint, ...], *, by_address: bool = False) -> ClusterLoadAssignment:
    """Return the ``endpoints`` of the cluster ``name``, by locality; none at all is an empty assignment.

    A locality has the weight of its endpoints, as far as that can be said, as gRPC leaves out one without a weight. ``by_address``: clients
    choose one themselves.
    """
    ordered = sorted(endpoints, key=lambda endpoint: (endpoint.locality, endpoint.address, endpoint.port))
    groups = [(locality, list(members)) for locality, members in groupby(ordered, key=lambda endpoint: endpoint.locality)]
    return ClusterLoadAssignment(
        cluster_name=name,
        endpoints=[
            LocalityLbEndpoints(
                locality=_locality(locality),
                lb_endpoints=[_endpoint(endpoint, by_address=by_address) for endpoint in members],
                load_balancing_weight={"value": min(sum(endpoint.weight for endpoint in members), _MAX_WEIGHT)},
            )
            for locality, members in groups
        ],
    )


def _endpoint(endpoint: Endpoint, *, by_address: bool) -> LbEndpoint:
    message = LbEndpoint(
        endpoint={"address": socket_address(endpoint.address, endpoint.port)},
        load_balancing_weight={"value": endpoint.weight},
        health_status=HealthStatus.DRAINING if endpoint.health is Health.DRAINING else HealthStatus.UNKNOWN,
        metadata=_MUTUAL if endpoint.mutual_tls else None,
    )
    if by_address:
        message.metadata.MergeFrom(endpoint_at(endpoint.address))
    return message


def _locality(text: str) -> Locality:
    region, _, rest = text.partition("/")
    zone, _, sub_zone = rest.partition("/")
    return Locality(region=region, zone=zone, sub_zone=sub_zone)
