"""PeerAuthentication: whether workloads take connections without mutual TLS.

https://istio.io/latest/docs/reference/config/security/peer_authentication/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from controlplane.model.keys import PEER_AUTHENTICATION, GroupKind
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import EMPTY_MAP, Map, Model
from controlplane.objects.types.selectors import WorkloadSelector


class MutualTLS(Model):
    """Which connections are taken; UNSET leaves it to the policy above."""

    mode: Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"] = "UNSET"


class PeerAuthenticationSpec(Model):
    """Which connections some workloads take, and some of their ports otherwise."""

    selector: WorkloadSelector | None = None
    mtls: MutualTLS | None = None
    port_level_mtls: Annotated[Map[MutualTLS], Field(min_length=1)] = EMPTY_MAP  # by the port's number, as a text


class PeerAuthentication(KubernetesObject):
    """Whether workloads take connections without mutual TLS."""

    group_kind: ClassVar[GroupKind] = PEER_AUTHENTICATION

    spec: PeerAuthenticationSpec = PeerAuthenticationSpec()
