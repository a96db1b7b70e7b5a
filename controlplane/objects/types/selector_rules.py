"""What a policy must keep to where it says which workloads, gateways or services it is for.

https://istio.io/latest/docs/reference/config/type/workload-selector/
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.keys import GATEWAY_API, SERVICE, SERVICE_ENTRY
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.selectors import PolicyAttachment, PolicyTargetReference, SinglePolicyAttachment, WorkloadSelector

_TARGETS = (
    (GATEWAY_API, "Gateway"),
    (GATEWAY_API, "GatewayClass"),
    SERVICE,
    SERVICE_ENTRY,
)


def check_attachment(spec: PolicyAttachment) -> Iterator[Finding]:
    """Yield what is wrong with what the policy ``spec`` is for."""
    names = (("selector", "selector"), ("target_ref", "targetRef"), ("target_refs", "targetRefs"))
    attachments = [name for field, name in names if field in spec.model_fields_set]
    if len(attachments) > 1:
        yield rules.conflict("spec", f"expected at most one of {', '.join(attachments)}")
    yield from check_selector(spec.selector)
    if isinstance(spec, SinglePolicyAttachment) and spec.target_ref is not None:
        yield from _target("spec.targetRef", spec.target_ref)
    for index, target_ref in enumerate(spec.target_refs):
        yield from _target(f"spec.targetRefs[{index}]", target_ref)


def check_selector(selector: WorkloadSelector | None) -> Iterator[Finding]:
    """Yield what is wrong with the ``selector`` of a policy."""
    if selector is not None:
        yield from rules.selector("spec.selector.matchLabels", selector.match_labels)


def _target(path: str, target: PolicyTargetReference) -> Iterator[Finding]:
    if target.namespace:
        yield rules.out_of_range(f"{path}.namespace", "nothing: a policy is for its own namespace", target.namespace)
    if (target.group, target.kind) not in _TARGETS:
        actual = f"{target.kind} of {target.group or 'the core'}"
        yield rules.out_of_range(f"{path}.kind", "a Gateway or GatewayClass of Kubernetes, a Service, or a ServiceEntry", actual)
