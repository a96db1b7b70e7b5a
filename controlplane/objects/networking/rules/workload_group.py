"""What WorkloadGroups must keep to.

https://istio.io/latest/docs/reference/config/networking/workload-group/
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.objects.networking.rules.service_entry import check_socket
from controlplane.objects.networking.workload_group import WorkloadGroup
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding

_METHODS = ("http_get", "tcp_socket", "exec", "grpc")


def check(group: WorkloadGroup) -> Iterator[Finding]:
    """Yield what is wrong with ``group``; its template may be empty, as an entry brings an address of its own."""
    template, probe = group.spec.template, group.spec.probe
    if template.address.startswith("unix://"):
        yield from check_socket("spec.template.address", template.address)
        if template.ports:
            yield rules.conflict("spec.template.ports", "expected none with a socket")
    yield from rules.labels("spec.template.labels", template.labels)
    if group.spec.metadata:
        yield from rules.labels("spec.metadata.labels", group.spec.metadata.labels)
    if probe and sum(getattr(probe, name) is not None for name in _METHODS) != 1:
        yield rules.required("spec.probe", "one of httpGet, tcpSocket, exec and grpc")
    if probe and probe.exec is not None:
        yield rules.warning("spec.probe.exec", "NotChecked", "an Envoy runs no commands: such a workload is never taken for healthy")
    if probe and probe.initial_delay_seconds:
        message = "an Envoy checks from the beginning; no workload gets requests before a check has succeeded"
        yield rules.warning("spec.probe.initialDelaySeconds", "NoEffect", message)
    if probe and probe.exec is not None and not probe.exec.command:
        yield rules.required("spec.probe.exec.command", "a command")
