"""What a policy must keep to where it says which workloads, gateways or services it is for.

https://istio.io/latest/docs/reference/config/type/workload-selector/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.model.keys import GATEWAY, GATEWAY_API, KUBERNETES_GATEWAY, SERVICE, SERVICE_ENTRY, GroupKind
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.selectors import PolicyAttachment, PolicyTargetReference, SinglePolicyAttachment, WorkloadSelector


class Targets(NamedTuple):
    """Which kinds a policy can be for by name, and what they are called."""

    kinds: frozenset[GroupKind]
    words: str


POLICY_TARGETS = Targets(
    frozenset((KUBERNETES_GATEWAY, GroupKind(GATEWAY_API, "GatewayClass"), SERVICE, SERVICE_ENTRY)),
    "a Gateway or GatewayClass of Kubernetes, a Service, or a ServiceEntry",
)
WORKLOAD_TARGETS = Targets(frozenset((KUBERNETES_GATEWAY, GATEWAY, SERVICE)), "a Gateway, of Istio or of Kubernetes, or a Service")


def check_attachment(spec: PolicyAttachment, targets: Targets = POLICY_TARGETS) -> Iterator[Finding]:
    """Yield what is wrong with what the policy ``spec`` is for, which may be some of ``targets``."""
    names = (("selector", "selector"), ("target_ref", "targetRef"), ("target_refs", "targetRefs"))
    attachments = [name for field, name in names if field in spec.model_fields_set]
    if len(attachments) > 1:
        yield rules.conflict("spec", f"expected at most one of {', '.join(attachments)}")
    yield from check_selector(spec.selector)
    if isinstance(spec, SinglePolicyAttachment) and spec.target_ref is not None:
        yield from _target("spec.targetRef", spec.target_ref, targets)
    for index, target_ref in enumerate(spec.target_refs):
        yield from _target(f"spec.targetRefs[{index}]", target_ref, targets)


def check_selector(selector: WorkloadSelector | None) -> Iterator[Finding]:
    """Yield what is wrong with the ``selector`` of a policy."""
    if selector is not None:
        yield from rules.selector("spec.selector.matchLabels", selector.match_labels)


def _target(path: str, target: PolicyTargetReference, targets: Targets) -> Iterator[Finding]:
    if target.namespace:
        yield rules.out_of_range(f"{path}.namespace", "nothing: a policy is for its own namespace", target.namespace)
    if (target.group, target.kind) not in targets.kinds:
        actual = f"{target.kind} of {target.group or 'the core'}"
        yield rules.out_of_range(f"{path}.kind", targets.words, actual)
