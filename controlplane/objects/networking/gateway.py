"""Gateway: which ports and hosts proxies at the edge of the mesh serve.

https://istio.io/latest/docs/reference/config/networking/gateway/
"""

from __future__ import annotations

from typing import ClassVar

from controlplane.model.keys import GATEWAY, GroupKind
from controlplane.objects.networking.sidecar import ServerTLSSettings
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import EMPTY_MAP, Hosts, Model, Text, TextMap, UInt


class GatewayPort(Model):
    """A port of a gateway; with a socket as ``bind`` its number is 0."""

    number: UInt
    protocol: Text
    name: Text
    target_port: UInt = 0


class GatewayServer(Model):
    """One port, the hosts served there, and their TLS."""

    port: GatewayPort
    hosts: Hosts
    name: Text = ""
    bind: Text = ""
    tls: ServerTLSSettings | None = None
    default_endpoint: Text = ""


class GatewaySpec(Model):
    """Servers, and the labels of the proxies that have them."""

    servers: tuple[GatewayServer, ...] = ()
    selector: TextMap = EMPTY_MAP


class Gateway(KubernetesObject):
    """What proxies at the edge of the mesh serve."""

    group_kind: ClassVar[GroupKind] = GATEWAY

    spec: GatewaySpec = GatewaySpec()
