"""What a proxy has: Envoy's messages, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

ResourceMessage = Listener | RouteConfiguration | Cluster | ClusterLoadAssignment


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of one proxy. ``virtual_hosts`` are those that came by VHDS, by the name of their route table."""

    listeners: tuple[Listener, ...] = ()
    route_tables: Mapping[str, RouteConfiguration] = field(default_factory=dict)
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    endpoints: Mapping[str, ClusterLoadAssignment] = field(default_factory=dict)
    virtual_hosts: Mapping[str, tuple[VirtualHost, ...]] = field(default_factory=dict)


def resources_of(
    messages: Iterable[ResourceMessage],
    virtual_hosts: Mapping[str, tuple[VirtualHost, ...]] | None = None,
) -> Resources:
    """Return ``messages`` as the resources of a proxy; ``virtual_hosts`` by route table, where it gets them by VHDS."""
    listeners: list[Listener] = []
    route_tables: dict[str, RouteConfiguration] = {}
    clusters: dict[str, Cluster] = {}
    endpoints: dict[str, ClusterLoadAssignment] = {}
    for message in messages:
        match message:
            case Listener():
                listeners.append(message)
            case RouteConfiguration():
                route_tables[message.name] = message
            case Cluster():
                clusters[message.name] = message
            case ClusterLoadAssignment():
                endpoints[message.cluster_name] = message
    return Resources(tuple(listeners), route_tables, clusters, endpoints, virtual_hosts or {})
