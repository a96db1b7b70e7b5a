"""WorkloadGroup: what WorkloadEntries that register themselves are made from.

https://istio.io/latest/docs/reference/config/networking/workload-group/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, Strict

from controlplane.model.keys import WORKLOAD_GROUP, GroupKind
from controlplane.objects.networking.service_entry import WorkloadSpec
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import EMPTY_MAP, MAX_INT32, Model, Port, Text, TextMap

Count = Annotated[int, Strict(), Field(ge=0, le=MAX_INT32)]


class HTTPHeader(Model):
    """A header of a probe's request."""

    name: Annotated[Text, Field(pattern=r"^[-_A-Za-z0-9]+$")] = ""
    value: Text = ""


class HTTPHealthCheck(Model):
    """A probe by an HTTP request."""

    port: Port
    path: Text = ""
    host: Text = ""
    scheme: Literal["", "HTTP", "HTTPS"] = ""
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPHealthCheck(Model):
    """A probe by opening a connection."""

    port: Port
    host: Text = ""


class ExecHealthCheck(Model):
    """A probe by running a command."""

    command: tuple[Annotated[Text, Field(min_length=1)], ...]


class GRPCHealthCheck(Model):
    """A probe by gRPC's health service."""

    port: Port | None = None
    service: Text = ""


class ReadinessProbe(Model):
    """How it is found out whether a workload is ready; times are in seconds."""

    initial_delay_seconds: Count = 0
    timeout_seconds: Count = 0
    period_seconds: Count = 0
    success_threshold: Count = 0
    failure_threshold: Count = 0
    http_get: HTTPHealthCheck | None = None
    tcp_socket: TCPHealthCheck | None = None
    exec: ExecHealthCheck | None = None
    grpc: GRPCHealthCheck | None = None


class GroupMeta(Model):
    """Labels and annotations of the entries."""

    labels: TextMap = EMPTY_MAP
    annotations: TextMap = EMPTY_MAP


class WorkloadTemplate(WorkloadSpec):
    """What an entry is like; it brings an address of its own."""


class WorkloadGroupSpec(Model):
    """What an entry that registers itself gets."""

    template: WorkloadTemplate
    metadata: GroupMeta | None = None
    probe: ReadinessProbe | None = None

    @property
    def labels(self) -> Mapping[str, str]:
        """Return the labels of its instances."""
        return {**(self.metadata.labels if self.metadata else {}), **self.template.labels}


class WorkloadGroup(KubernetesObject):
    """What WorkloadEntries that register themselves are made from."""

    group_kind: ClassVar[GroupKind] = WORKLOAD_GROUP

    spec: WorkloadGroupSpec
