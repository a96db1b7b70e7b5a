"""What is wrong between Sidecars, and between them and the policies that hold for their workloads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from controlplane.incremental.database import Database, query
from controlplane.mesh.facets import of_kind
from controlplane.mesh.inputs import index, objects
from controlplane.mesh.problems.precedence import listed, why_first
from controlplane.mesh.registry.endpoints import selected_workloads
from controlplane.mesh.registry.peer_authentication import peer_policies
from controlplane.model.keys import POD, SIDECAR, Key
from controlplane.model.peer_authentication import MutualTLSMode
from controlplane.model.problems import Problem, Severity
from controlplane.objects.networking.sidecar import Sidecar


def sidecar_problems(db: Database, sidecar: Sidecar) -> Iterator[Problem]:
    """Yield what is wrong between ``sidecar`` and other objects."""
    selector = sidecar.spec.workload_selector
    labels = tuple(sorted(selector.labels.items())) if selector else ()
    modes = peer_policies(db, sidecar.key.namespace, labels)
    for position, ingress in enumerate(sidecar.spec.ingress):
        if ingress.tls and modes.on_port(ingress.port.number) is MutualTLSMode.STRICT:
            message = "PeerAuthentication is STRICT on this port: nobody from outside of the mesh is let in, by whatever TLS"
            yield Problem(sidecar.key, f"spec.ingress[{position}].tls", Severity.WARNING, "Ineffective", message)
    if message := sidecar_conflicts(db, sidecar.key.namespace).get(sidecar.key, ""):
        yield Problem(sidecar.key, "spec.workloadSelector", Severity.WARNING, "Conflict", message)


@query
def sidecar_conflicts(db: Database, namespace: str) -> Mapping[Key, str]:
    """Return what is told of the Sidecars of ``namespace`` that are for the same workloads: the first of them is used there."""
    found = (objects(db, key) for key in index(db, of_kind(SIDECAR, namespace)))
    sidecars = sorted((each for each in found if isinstance(each, Sidecar)), key=lambda each: (each.meta.created, each.key))
    groups: dict[object, list[Sidecar]] = defaultdict(list)
    for sidecar in sidecars:
        labels = sidecar.spec.workload_selector.labels if sidecar.spec.workload_selector else {}
        groups[frozenset(labels.items())].append(sidecar)
        for pod in selected_workloads(db, POD, namespace, labels):
            groups[pod].append(sidecar)
    messages: dict[Key, str] = {}
    for subject, members in groups.items():
        if len(members) > 1:
            where = _where(subject)
            first, *others = members
            messages.setdefault(first.key, f"{listed([each.key for each in others])} is for {where} too: this one is used there")
            for other in others:
                reason = why_first(first.meta.created, other.meta.created)
                messages.setdefault(other.key, f"{first.key}, {reason}, is for {where} too: this one is not used there")
    return messages


def _where(subject: object) -> str:
    if isinstance(subject, Key):
        return f"the pod {subject.name}"
    return "the same labels" if subject else "all workloads of the namespace"
