"""Which connections workloads accept, by their PeerAuthentications."""

from __future__ import annotations

from controlplane.incremental.database import Database, query
from controlplane.mesh.facets import of_kind
from controlplane.mesh.inputs import index, objects
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.model.keys import PEER_AUTHENTICATION
from controlplane.model.peer_authentication import MutualTLSMode, PeerModes, PeerPolicy, effective_modes
from controlplane.model.services import Labels
from controlplane.objects.security.closed import ClosedPeerAuthentication
from controlplane.objects.security.peer_authentication import MutualTLS, PeerAuthentication


@query
def peer_policies(db: Database, namespace: str, labels: Labels) -> PeerModes:
    """Return which connections a workload of ``namespace`` with ``labels`` accepts."""
    root = mesh_settings(db).root_namespace
    workload_labels = set(labels)
    policies = []
    for policy_namespace in dict.fromkeys((namespace, root)):
        for key in sorted(index(db, of_kind(PEER_AUTHENTICATION, policy_namespace))):
            peer_authentication = objects(db, key)
            if (
                isinstance(peer_authentication, PeerAuthentication)
                and (policy := _policy(peer_authentication))
                and _selects(peer_authentication, workload_labels)
            ):
                policies.append(policy)
    return effective_modes(policies, namespace, root)


def _selects(peer_authentication: PeerAuthentication, labels: set[tuple[str, str]]) -> bool:
    selector = peer_authentication.spec.selector
    return selector is None or labels.issuperset(selector.match_labels.items())


def _policy(peer_authentication: PeerAuthentication) -> PeerPolicy:
    spec = peer_authentication.spec
    return PeerPolicy(
        namespace=peer_authentication.key.namespace,
        name=peer_authentication.key.name,
        created=peer_authentication.meta.seniority,
        selects=bool(spec.selector and spec.selector.match_labels),
        mode=_mode(spec.mtls),
        ports={int(port): _mode(mtls) for port, mtls in spec.port_level_mtls.items()},
        closed=isinstance(peer_authentication, ClosedPeerAuthentication),
        on_every_level=isinstance(peer_authentication, ClosedPeerAuthentication) and peer_authentication.selector_unreadable,
    )


def _mode(mtls: MutualTLS | None) -> MutualTLSMode | None:
    return None if mtls is None or mtls.mode == "UNSET" else MutualTLSMode(mtls.mode)
