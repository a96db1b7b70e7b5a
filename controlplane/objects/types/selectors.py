"""Which workloads, or which gateways and services, a policy is for.

https://istio.io/latest/docs/reference/config/type/workload-selector/
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controlplane.objects.types.scalars import EMPTY_MAP, Map, Model, Text

Name = Annotated[Text, Field(min_length=1)]
Names = tuple[Name, ...]
_SUBDOMAIN = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


class WorkloadSelector(Model):
    """Workloads by their labels; without any, all workloads of the namespace."""

    match_labels: Annotated[Map[Annotated[Text, Field(max_length=63)]], Field(max_length=4096)] = EMPTY_MAP


class PolicyTargetReference(Model):
    """A gateway or a service by its name, in the namespace of the policy."""

    group: Annotated[Text, Field(max_length=253, pattern=_SUBDOMAIN)] = ""
    kind: Annotated[Text, Field(min_length=1, max_length=63, pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")]
    name: Annotated[Text, Field(min_length=1, max_length=253)]
    namespace: Text = ""


class PolicyAttachment(Model):
    """What a policy is for: some workloads, or some gateways and services; without either, its whole namespace."""

    selector: WorkloadSelector | None = None
    target_refs: Annotated[tuple[PolicyTargetReference, ...], Field(max_length=16)] = ()


class SinglePolicyAttachment(PolicyAttachment):
    """The same, in kinds that could once be for one gateway or service only."""

    target_ref: PolicyTargetReference | None = None
