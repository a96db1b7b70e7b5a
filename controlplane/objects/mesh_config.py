"""The settings of the mesh: the ConfigMap ``istio`` of the root namespace, key ``mesh``, which holds YAML."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from controlplane.objects.meta import KubernetesObject
from controlplane.objects.scalars import Model, Text, UInt

NAME, NAMESPACE, ENTRY = "istio", "istio-system", "mesh"


class OutboundTrafficPolicy(Model):
    """What becomes of traffic to unknown destinations."""

    mode: Literal["ALLOW_ANY", "REGISTRY_ONLY"] = "ALLOW_ANY"


class MeshConfigSpec(Model):
    """The fields of MeshConfig that have an effect; others give a warning."""

    outbound_traffic_policy: OutboundTrafficPolicy = OutboundTrafficPolicy()
    proxy_http_port: UInt = 0  # 0 or absent: no such listener
    trust_domain: Text = "cluster.local"
    root_namespace: Text = "istio-system"


class MeshConfig(KubernetesObject):
    """The settings of the mesh."""

    spec: MeshConfigSpec = Field(default=MeshConfigSpec())
