"""The resources of a proxy as the simulation takes them: decoded when they are looked at, as nearly all of them never are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from controlplane.explain.work import Work
from controlplane.simulation.resources import Resources
from controlplane.xds.resource import Resource
from controlplane.xds.view import View

T = TypeVar("T")


class _Decoded(Mapping[str, T]):
    """Messages of the resources of one type, by name; each is decoded when it is asked for."""

    def __init__(self, view: View, type_url: str, decode: Callable[[bytes], T]) -> None:
        self._view, self._type_url, self._decode = view, type_url, decode
        self._known: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._known:
            resource = self._view.get(self._type_url, name)
            if resource is None:
                raise KeyError(name)
            self._known[name] = self._decode(resource.value)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter({name: None for names in self._view.names(self._type_url) for name in names})

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _HostsByTable(Mapping[str, tuple[VirtualHost, ...]]):
    """The virtual hosts that come by themselves (VHDS), by their route tables; those alone that may be for ``authorities``."""

    def __init__(self, view: View, authorities: frozenset[str]) -> None:
        self._view, self._authorities = view, authorities
        self._known: dict[str, tuple[VirtualHost, ...]] = {}

    def __getitem__(self, table: str) -> tuple[VirtualHost, ...]:
        if table not in self._known:
            self._known[table] = self._decoded(table)
        return self._known[table]

    def _decoded(self, table: str) -> tuple[VirtualHost, ...]:
        names = [(part, name) for part in self._view.tables for name in part.folders(VHDS).get(table, ())]
        resources = (part.of_type(VHDS)[name] for part, name in names)
        return tuple(VirtualHost.FromString(resource.value) for resource in resources if self._may_be_for(resource))

    def _may_be_for(self, resource: Resource) -> bool:
        if not self._authorities:
            return True
        domains = {domain.rpartition("/")[2].lower() for domain in resource.exclusive}
        return not domains or not self._authorities.isdisjoint(domains) or any("*" in domain for domain in domains)

    def __iter__(self) -> Iterator[str]:
        return iter({table: None for part in self._view.tables for table in part.folders(VHDS)})

    def __len__(self) -> int:
        return sum(1 for _ in self)


def authorities(authority: str) -> frozenset[str]:
    """Return what virtual hosts may be called that a request to ``authority`` comes to."""
    name = authority.lower()
    return frozenset((name, name.rpartition(":")[0] or name))


def resources_in(view: View, authorities: frozenset[str] = frozenset()) -> Work[Resources]:
    """Return what ``view`` shows, for requests to ``authorities``."""
    listeners: list[Listener] = []
    for resource in tuple(view.resources(LDS)):  # it may change meanwhile
        listeners.append(Listener.FromString(resource.value))
        yield
    return Resources(
        tuple(listeners),
        _Decoded(view, RDS, RouteConfiguration.FromString),
        _Decoded(view, CDS, Cluster.FromString),
        _Decoded(view, EDS, ClusterLoadAssignment.FromString),
        _HostsByTable(view, authorities),
    )
