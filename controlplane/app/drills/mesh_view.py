"""What drills have to know of the mesh: hosts, callers, instances."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from controlplane.drills.planning.plan import NEVER, NEVER_LABEL, DrilledInstance, DrilledProxy
from controlplane.fleet.load import LocalityLoad
from controlplane.mesh.destinations.destination_rules import rule_client
from controlplane.mesh.destinations.traffic_policies import traffic_policy
from controlplane.mesh.facets import qualified_host
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.registry.endpoints import endpoints
from controlplane.mesh.registry.services import ServiceRef, find_service, resolved_host, service
from controlplane.mesh.routing.scopes import proxy_labels
from controlplane.mesh.routing.virtual_services import virtual_services_for
from controlplane.mesh.sessions import Session
from controlplane.model.cluster_names import is_cluster_name, parse_cluster_name
from controlplane.model.keys import NAMESPACE
from controlplane.objects.kubernetes.core import Namespace


class MeshView:
    """The mesh as drills see it; fulfils DrilledMesh."""

    def __init__(self, mesh: Mesh, sessions: Callable[[], Sequence[Session]], load: Callable[[], Iterable[LocalityLoad]]) -> None:
        """Look at ``mesh`` and the proxies of ``sessions``, which report their ``load``."""
        self._load = load
        self._mesh = mesh
        self._sessions = sessions

    def host(self, service_name: str, namespace: str) -> str | None:
        """Return the whole host of ``service_name`` as clients in ``namespace`` know it; ``None``: there is none."""
        host = qualified_host(service_name, namespace)
        return resolved_host(self._mesh.database, host, namespace) if find_service(self._mesh.database, host, namespace) else None

    def namespace(self, host: str, client_namespace: str) -> str:
        """Return the namespace of the service ``host``."""
        ref = find_service(self._mesh.database, host, client_namespace)
        return ref.key.namespace if ref else ""

    def proxies(self, namespace: str, labels: Sequence[tuple[str, str]]) -> Sequence[DrilledProxy]:
        """Return the proxies of workloads in ``namespace`` (empty: in all) that have ``labels``."""
        found = {
            proxy.id: DrilledProxy(proxy.id, proxy.ips[0], proxy.namespace)
            for proxy in (session.proxy for session in self._sessions())
            if proxy.is_envoy and proxy.ips and namespace in ("", proxy.namespace)
            if set(labels) <= set(proxy_labels(self._mesh.database, proxy))
        }
        return tuple(found[proxy_id] for proxy_id in sorted(found))

    def instances(self, host: str, client_namespace: str) -> Sequence[DrilledInstance]:
        """Return the instances of ``host``."""
        ref = find_service(self._mesh.database, host, client_namespace)
        if ref is None:
            return ()
        found = {
            endpoint.address: DrilledInstance(endpoint.address, ref.key.namespace, endpoint.labels, endpoint.locality)
            for port in self._ports(ref)
            for endpoint in endpoints(self._mesh.database, ref, port)
        }
        return tuple(found[address] for address in sorted(found))

    def is_excluded(self, namespace: str) -> bool:
        """Return whether nothing in ``namespace`` may be drilled."""
        found = self._mesh.object(NAMESPACE.key("", namespace))
        return isinstance(found, Namespace) and found.meta.labels.get(NEVER_LABEL) == NEVER

    def has_outlier_detection(self, host: str, client_namespace: str) -> bool:
        """Return whether instances of ``host`` are ejected that fail."""
        db = self._mesh.database
        ref = find_service(db, host, client_namespace)
        if ref is None:
            return False
        client = rule_client(db, ref, client_namespace)
        return any(traffic_policy(db, ref, client, port, "").outliers is not None for port in self._ports(ref))

    def virtual_services(self, host: str) -> Sequence[str]:
        """Return the VirtualServices that have routes for ``host``, as NAMESPACE/NAME."""
        return [f"{head.key.namespace}/{head.key.name}" for head in virtual_services_for(self._mesh.database, host)]

    def requests_per_s(self) -> Mapping[str, float]:
        """Return how many requests a second proxies have reported last, by host."""
        rates: defaultdict[str, float] = defaultdict(float)
        for row in self._load():
            if is_cluster_name(row.cluster) and (name := parse_cluster_name(row.cluster)).direction == "outbound":
                rates[name.host] += row.requests_per_s
        return rates

    def _ports(self, ref: ServiceRef) -> tuple[int, ...]:
        found = service(self._mesh.database, ref)
        return tuple(port.number for port in found.ports) if found else ()
