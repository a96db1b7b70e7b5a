"""Which connections workloads take: what PeerAuthentications say of them."""

from __future__ import annotations

from controlplane.incremental.database import Database, query
from controlplane.mesh.inputs import index, objects, of_kind
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.model.keys import PEER_AUTHENTICATION
from controlplane.model.peer_authentication import MutualTLSMode, PeerModes, PeerPolicy, effective_modes
from controlplane.model.services import Labels
from controlplane.objects.security.peer_authentication import MutualTLS, PeerAuthentication


@query
def peer_policies(db: Database, namespace: str, labels: Labels) -> PeerModes:
    """Return which connections a workload of ``namespace`` with ``labels`` takes."""
    root = mesh_settings(db).root_namespace
    has = set(labels)
    found = []
    for where in dict.fromkeys((namespace, root)):
        for key in sorted(index(db, of_kind(PEER_AUTHENTICATION, where))):
            value = objects(db, key)
            if isinstance(value, PeerAuthentication) and (policy := _policy(value)) and _about(value, has):
                found.append(policy)
    return effective_modes(found, namespace, root)


def _about(value: PeerAuthentication, labels: set[tuple[str, str]]) -> bool:
    selector = value.spec.selector
    return selector is None or labels.issuperset(selector.match_labels.items())


def _policy(value: PeerAuthentication) -> PeerPolicy:
    spec = value.spec
    return PeerPolicy(
        namespace=value.key.namespace,
        name=value.key.name,
        created=value.meta.created,
        selects=bool(spec.selector and spec.selector.match_labels),
        mode=_mode(spec.mtls),
        ports={int(port): _mode(said) for port, said in spec.port_level_mtls.items()},
    )


def _mode(said: MutualTLS | None) -> MutualTLSMode | None:
    return None if said is None or said.mode == "UNSET" else MutualTLSMode(said.mode)
