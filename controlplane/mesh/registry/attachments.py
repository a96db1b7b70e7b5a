"""Which workloads and gateways a policy is for: by its selector, or by the objects that it is attached to by name.

https://istio.io/latest/docs/reference/config/type/workload-selector/
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import NamedTuple

from controlplane.incremental.database import Database, eager_query
from controlplane.mesh.inputs import objects
from controlplane.model.keys import KUBERNETES_GATEWAY, Key
from controlplane.model.services import Labels
from controlplane.objects.extensions.telemetry import Telemetry
from controlplane.objects.security.authorization_policy import AuthorizationPolicy
from controlplane.objects.security.request_authentication import RequestAuthentication
from controlplane.objects.types.selectors import PolicyTargetReference, SinglePolicyAttachment

GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"  # of the pods of such a gateway


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
    if not isinstance(policy, AuthorizationPolicy | RequestAuthentication | Telemetry):
        return None
    if refs := target_refs(policy.spec):
        names = (ref.name for _, ref in refs if (ref.group, ref.kind) == KUBERNETES_GATEWAY)
        return PolicyTarget(tuple(((GATEWAY_LABEL, name),) for name in names), own_namespace_only=True)
    selector = policy.spec.selector
    return PolicyTarget((tuple(sorted(selector.match_labels.items())) if selector else (),), own_namespace_only=False)


def target_refs(spec: SinglePolicyAttachment) -> list[tuple[str, PolicyTargetReference]]:
    """Return the objects that ``spec`` is attached to by name, each with the path of its field."""
    refs = [("spec.targetRef", spec.target_ref)] if spec.target_ref else []
    return refs + [(f"spec.targetRefs[{position}]", ref) for position, ref in enumerate(spec.target_refs)]


def is_for(target: PolicyTarget | None, key: Key, namespace: str, labels: AbstractSet[tuple[str, str]]) -> bool:
    """Return whether the policy ``key``, which is for ``target``, is for a workload of ``namespace`` with ``labels``."""
    if target is None or (target.own_namespace_only and key.namespace != namespace):
        return False
    return any(labels >= set(choice) for choice in target.choices)
