"""Which workloads and gateways a policy is for: by its selector, or by the objects that it is attached to by name.

https://istio.io/latest/docs/reference/config/type/workload-selector/
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import NamedTuple

from controlplane.incremental.database import Database, eager_query
from controlplane.mesh.facets import of_kind
from controlplane.mesh.inputs import index, objects
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.model.keys import KUBERNETES_GATEWAY, GroupKind, Key
from controlplane.model.services import Labels
from controlplane.objects.extensions.telemetry import Telemetry
from controlplane.objects.extensions.traffic_extension import TrafficExtension
from controlplane.objects.extensions.wasm_plugin import WasmPlugin
from controlplane.objects.kubernetes.core import KubernetesService
from controlplane.objects.networking.gateway import Gateway
from controlplane.objects.security.authorization_policy import AuthorizationPolicy
from controlplane.objects.security.rate_limit import ClosedRateLimit, RateLimit
from controlplane.objects.security.request_authentication import RequestAuthentication
from controlplane.objects.types.selectors import PolicyAttachment, PolicyTargetReference, SinglePolicyAttachment

GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"  # of the pods of such a gateway
Attached = AuthorizationPolicy | RequestAuthentication | Telemetry | WasmPlugin | TrafficExtension


class PolicyTarget(NamedTuple):
    """Which workloads a policy is for: those with all labels of one of ``choices``; ``own_namespace_only``: and nowhere else."""

    choices: tuple[Labels, ...]
    own_namespace_only: bool

    @property
    def selective(self) -> bool:
        """Return whether it is for some workloads only."""
        return self.own_namespace_only or self.choices != ((),)


@eager_query
def policy_attachment(db: Database, key: Key) -> PolicyTarget | None:
    """Return which workloads the policy ``key`` is for."""
    policy = objects(db, key)
    if isinstance(policy, RateLimit | ClosedRateLimit) and policy.spec.target_refs:
        choices = (target_labels(db, key.namespace, ref) for _, ref in target_refs(policy.spec))
        return PolicyTarget(tuple(labels for labels in choices if labels), own_namespace_only=True)
    if not isinstance(policy, Attached | RateLimit | ClosedRateLimit):
        return None
    if refs := target_refs(policy.spec):
        names = (ref.name for _, ref in refs if (ref.group, ref.kind) == KUBERNETES_GATEWAY)
        return PolicyTarget(tuple(((GATEWAY_LABEL, name),) for name in names), own_namespace_only=True)
    selector = policy.spec.selector
    return PolicyTarget((tuple(sorted(selector.match_labels.items())) if selector else (),), own_namespace_only=False)


def target_labels(db: Database, namespace: str, ref: PolicyTargetReference) -> Labels:
    """Return the labels of the workloads of ``namespace`` that ``ref``, of a policy of workloads, stands for; none: there are none."""
    kind = GroupKind(ref.group, ref.kind)
    if kind == KUBERNETES_GATEWAY:
        return ((GATEWAY_LABEL, ref.name),)
    match objects(db, kind.key(namespace, ref.name)):
        case Gateway() | KubernetesService() as target:
            return tuple(sorted(target.spec.selector.items()))
        case _:
            return ()


def target_refs(spec: PolicyAttachment) -> list[tuple[str, PolicyTargetReference]]:
    """Return the objects that ``spec`` is attached to by name, each with the path of its field."""
    refs = [("spec.targetRef", spec.target_ref)] if isinstance(spec, SinglePolicyAttachment) and spec.target_ref else []
    return refs + [(f"spec.targetRefs[{position}]", ref) for position, ref in enumerate(spec.target_refs)]


def attached_policies(db: Database, kind: GroupKind, namespace: str, labels: Labels) -> tuple[Key, ...]:
    """Return the policies of ``kind`` for a workload of ``namespace`` with ``labels``: its namespace's, and the root namespace's."""
    policy_namespaces = {namespace, mesh_settings(db).root_namespace}
    keys = sorted(key for policy_namespace in policy_namespaces for key in index(db, of_kind(kind, policy_namespace)))
    return tuple(key for key in keys if is_for(policy_attachment(db, key), key, namespace, set(labels)))


def is_for(target: PolicyTarget | None, key: Key, namespace: str, labels: AbstractSet[tuple[str, str]]) -> bool:
    """Return whether the policy ``key``, which is for ``target``, is for a workload of ``namespace`` with ``labels``."""
    if target is None or (target.own_namespace_only and key.namespace != namespace):
        return False
    return any(labels >= set(choice) for choice in target.choices)
