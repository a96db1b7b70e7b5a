"""What is wrong between Sidecars and the policies that hold for their workloads."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.registry.peer_authentication import peer_policies
from controlplane.model.peer_authentication import MutualTLSMode
from controlplane.model.problems import Problem, Severity
from controlplane.objects.networking.sidecar import Sidecar


def sidecar_problems(db: Database, sidecar: Sidecar) -> Iterator[Problem]:
    """Yield what is wrong between ``sidecar`` and other objects."""
    selector = sidecar.spec.workload_selector
    labels = tuple(sorted(selector.labels.items())) if selector else ()
    modes = peer_policies(db, sidecar.key.namespace, labels)
    for index, ingress in enumerate(sidecar.spec.ingress):
        if ingress.tls and modes.on_port(ingress.port.number) is MutualTLSMode.STRICT:
            message = "PeerAuthentication is STRICT on this port: nobody from outside of the mesh is let in, by whatever TLS"
            yield Problem(sidecar.key, f"spec.ingress[{index}].tls", Severity.WARNING, "Ineffective", message)
