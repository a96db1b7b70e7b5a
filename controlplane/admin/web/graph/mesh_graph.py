"""Who asks whom: what each proxy reports to have sent to each cluster, summed up between services."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from controlplane.admin.schemas import LoadRow
from controlplane.envoy.type_urls import CDS, EDS
from controlplane.explain.work import Work
from controlplane.mesh.sessions import Session
from controlplane.model.cluster_names import OUTBOUND, parse_cluster_name
from controlplane.model.proxies import Proxy
from controlplane.simulation.upstream.reached import ReachedEndpoints, reached_by

_OF_SERVICE = ".svc."  # in the host of a Service, after its name and its namespace


class Security(StrEnum):
    """How connections between two services are secured, as their proxies are configured."""

    MUTUAL = "mTLS"
    PARTLY = "partly mTLS"  # some endpoints have no proxy, or some proxies no identity
    PLAIN = "no mTLS"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class MeshEdge:
    """The traffic of ``source`` to ``target``: a second, as last reported, and since the proxies began to report."""

    source: str
    target: str
    requests_per_s: float
    errors_per_s: float
    requests: int
    errors: int
    latency_ms: float | None  # estimated
    security: Security

    @property
    def success(self) -> float | None:
        """Return which share of the requests succeeded: of the last reports, or, where these have none, of all."""
        if self.requests_per_s:
            return max(0.0, 1 - self.errors_per_s / self.requests_per_s)
        return 1 - self.errors / self.requests if self.requests else None


@dataclass(slots=True)
class _Sums:
    requests_per_s: float = 0.0
    errors_per_s: float = 0.0
    requests: int = 0
    errors: int = 0
    busy_ms: float = 0.0
    count: int = 0
    mutual: int = 0

    def add(self, row: LoadRow) -> None:
        self.requests_per_s += row.requests_per_second
        self.errors_per_s += row.errors_per_second
        self.requests += row.requests
        self.errors += row.errors
        self.busy_ms += (row.estimated_latency_ms or 0.0) * row.requests

    def edge(self, source: str, target: str) -> MeshEdge:
        return MeshEdge(
            source,
            target,
            self.requests_per_s,
            self.errors_per_s,
            self.requests,
            self.errors,
            self.busy_ms / self.requests if self.requests else None,
            _security(self.count, self.mutual),
        )


def mesh_edges(sessions: Iterable[Session], load: Callable[[str], Sequence[LoadRow]]) -> Work[tuple[MeshEdge, ...]]:
    """Return the edges between services, the busiest first: what ``load`` says of the proxy of each of ``sessions``."""
    reports: list[tuple[Proxy, str, LoadRow, ReachedEndpoints | None]] = []
    known: dict[tuple[str, tuple[str, str]], ReachedEndpoints] = {}
    for session in {each.proxy.id: each for each in sessions if each.proxy.is_envoy}.values():
        for row in load(session.proxy.id):
            name = parse_cluster_name(row.cluster)
            if name.direction != OUTBOUND or not row.requests:
                continue
            reports.append((session.proxy, service_name(name.host), row, _reached(session, row.cluster, known)))
        yield
    services = _services_by_address(reports)
    yield
    sums: dict[tuple[str, str], _Sums] = defaultdict(_Sums)
    for proxy, target, row, reached in reports:
        between = sums[_name(proxy, services), target]
        between.add(row)
        if reached is not None:
            between.count += reached.count
            between.mutual += reached.mutual
        yield
    edges = [between.edge(source, target) for (source, target), between in sums.items()]
    return tuple(sorted(edges, key=lambda edge: (-edge.requests_per_s, -edge.requests, edge.source, edge.target)))


def service_name(host: str) -> str:
    """Return ``host`` as people call it: ``reviews.shop`` for a Service of Kubernetes."""
    return host.partition(_OF_SERVICE)[0] if _OF_SERVICE in host else host


def _reached(session: Session, cluster: str, known: dict[tuple[str, tuple[str, str]], ReachedEndpoints]) -> ReachedEndpoints | None:
    view = session.view
    resource, endpoints = view.get(CDS, cluster), view.get(EDS, cluster)
    if resource is None:
        return None
    # Where both are equal, so is what they lead to: proxies that see the same share them.
    versions = resource.version, endpoints.version if endpoints else ""
    if (cluster, versions) not in known:

        def assignment(name: str) -> bytes | None:
            found = view.get(EDS, name)
            return found.value if found else None

        known[cluster, versions] = reached_by(resource.value, assignment)
    return known[cluster, versions]


def _services_by_address(reports: Iterable[tuple[Proxy, str, LoadRow, ReachedEndpoints | None]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for _, target, _, reached in reports:
        for address in reached.addresses if reached else ():
            found.setdefault(address, target)
    return found


def _name(proxy: Proxy, services: Mapping[str, str]) -> str:
    """Return the service that ``proxy`` stands before, as far as somebody asks it; or else its workload."""
    serves = next((services[ip] for ip in proxy.ips if ip in services), None)
    return serves or f"{proxy.workload or proxy.name}.{proxy.namespace}"


def _security(count: int, mutual: int) -> Security:
    if not count:
        return Security.UNKNOWN
    if not mutual:
        return Security.PLAIN
    return Security.MUTUAL if mutual == count else Security.PARTLY
