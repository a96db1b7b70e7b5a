"""The endpoints of a cluster."""

from __future__ import annotations

from itertools import groupby

from envoy.config.core.v3.base_pb2 import Locality, Metadata
from envoy.config.core.v3.health_check_pb2 import HealthStatus
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from controlplane.envoy.packing import struct
from controlplane.model.services import Endpoint, Health
from controlplane.model.telemetry.label_formats import METADATA
from controlplane.model.telemetry.workloads import workload_names
from controlplane.translate.addresses import LOAD_BALANCING, endpoint_at, set_address
from controlplane.translate.clusters.upstream_tls import MATCH, TLS_MODE
from controlplane.translate.faults.chosen_endpoints import RemainingEndpoints, chosen_by
from controlplane.translate.telemetry.names import endpoint_names
from controlplane.translate.tls.mesh import ISTIO

_MAX_WEIGHT = 2**32 - 1
_MUTUAL = Metadata(filter_metadata={MATCH: struct({TLS_MODE: ISTIO})})


def load_assignment(
    name: str,
    endpoints: tuple[Endpoint, ...],
    *,
    by_address: bool = False,
    named_in: str = "",
    remaining: RemainingEndpoints | None = None,
) -> ClusterLoadAssignment:
    """Return the ``endpoints`` of the cluster ``name``, by locality; none at all is an empty assignment.

    A locality has the weight of its endpoints, as far as that can be said, as gRPC leaves out one without a weight. ``by_address``: clients
    choose one themselves. ``named_in``: who calls them counts by the names of their workloads, which are of this namespace. Those
    that are ``remaining`` while a drill takes others out are marked.
    """
    assignment = ClusterLoadAssignment(cluster_name=name)
    ordered = sorted(endpoints, key=lambda endpoint: (endpoint.locality, endpoint.address, endpoint.port))
    for locality, members in groupby(ordered, key=lambda endpoint: endpoint.locality):
        group = assignment.endpoints.add(locality=_locality(locality))
        total = 0
        for endpoint in members:
            total += endpoint.weight
            message = _add_endpoint(group, endpoint, by_address=by_address)
            if named_in and (endpoint.workload or endpoint.labels):
                names = endpoint_names(workload_names(endpoint.workload, named_in, dict(endpoint.labels)))
                message.metadata.filter_metadata[METADATA].update(names)
            if remaining is not None and endpoint.address in remaining.addresses:
                message.metadata.filter_metadata[LOAD_BALANCING].update(chosen_by(remaining.id))
        group.load_balancing_weight.value = min(total, _MAX_WEIGHT)
    return assignment


def _add_endpoint(group: LocalityLbEndpoints, endpoint: Endpoint, *, by_address: bool) -> LbEndpoint:
    """Add ``endpoint`` to ``group``, in place: a service has many, and each message that is copied costs as much as all of this."""
    message = group.lb_endpoints.add()
    set_address(message.endpoint.address, endpoint.address, endpoint.port)
    message.load_balancing_weight.value = endpoint.weight
    if endpoint.health is Health.DRAINING:
        message.health_status = HealthStatus.DRAINING
    if endpoint.mutual_tls:
        message.metadata.CopyFrom(_MUTUAL)
    if by_address:
        message.metadata.MergeFrom(endpoint_at(endpoint.address))
    return message


def _locality(text: str) -> Locality:
    region, _, rest = text.partition("/")
    zone, _, sub_zone = rest.partition("/")
    return Locality(region=region, zone=zone, sub_zone=sub_zone)
