"""What the Envoy of a virtual machine is, by the WorkloadGroup that it registers itself with.

https://istio.io/latest/docs/setup/install/virtual-machine/
"""

from __future__ import annotations

from dataclasses import replace

from controlplane.bootstrap.bootstrap import BootstrapNode
from controlplane.objects.networking.workload_group import WorkloadGroup


def node_in_group(node: BootstrapNode, group: WorkloadGroup) -> BootstrapNode:
    """Return ``node`` as an instance of ``group``: in its namespace, by its service account, with its labels."""
    template = group.spec.template
    return replace(
        node,
        namespace=group.key.namespace,
        service_account=template.service_account or "default",
        app=group.spec.labels.get("app", group.key.name),
        labels=tuple(sorted(group.spec.labels.items())),
        locality=template.locality,
        group=group.key.name,
    )
