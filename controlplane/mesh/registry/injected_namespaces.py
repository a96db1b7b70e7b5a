"""Which namespaces have proxies beside their workloads, or are to have them.

https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#controlling-the-injection-policy
"""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.incremental.database import Database, eager_query, query
from controlplane.mesh.facets import labelled, namespaces_with, of_kind
from controlplane.mesh.inputs import index, objects
from controlplane.model.keys import NAMESPACE, POD, Key
from controlplane.model.revisions import REVISION_LABEL
from controlplane.objects.kubernetes.core import Namespace

# A pod that asks for a proxy, and one that was given it.
_POD_LABELS = (("sidecar.istio.io/inject", "true"), ("security.istio.io/tlsMode", "istio"))


@query
def injected_namespaces(db: Database) -> frozenset[str]:
    """Return the namespaces whose labels ask for injection, and those of pods that do, where the namespace does not forbid it."""
    by_namespace = {key.name: asks_for_injection(db, key) for key in index(db, of_kind(NAMESPACE, ""))}
    with_proxies = {marker.namespace for marker in index(db, namespaces_with(POD)) if has_proxies(db, marker.namespace)}
    return frozenset(name for name, wanted in by_namespace.items() if wanted) | frozenset(
        namespace for namespace in with_proxies if by_namespace.get(namespace) is not False
    )


@eager_query
def asks_for_injection(db: Database, key: Key) -> bool | None:
    """Return whether the Namespace ``key`` asks for injection, ``None`` where it leaves that to its pods."""
    namespace = objects(db, key)
    labels: Mapping[str, str] = namespace.meta.labels if isinstance(namespace, Namespace) else {}
    match labels.get("istio-injection"):
        case "enabled":
            return True
        case "disabled":
            return False
        case _:
            return True if labels.get(REVISION_LABEL) else None


@query
def has_proxies(db: Database, namespace: str) -> bool:
    """Return whether a pod of ``namespace`` asks for a proxy or has one."""
    return any(index(db, labelled(POD, namespace, name, value)) for name, value in _POD_LABELS)
