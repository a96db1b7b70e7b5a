"""Sidecar: what a proxy listens on and what it sees.

https://istio.io/latest/docs/reference/config/networking/sidecar/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from controlplane.model.keys import SIDECAR, GroupKind
from controlplane.objects.networking.destination_rule import ConnectionPoolSettings
from controlplane.objects.networking.service_entry import WorkloadLabelSelector
from controlplane.objects.networking.virtual_service import Destination
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import Bool, Hosts, Model, Text, Texts, UInt, Unsupported

CaptureMode = Literal["DEFAULT", "IPTABLES", "NONE"]
TLSVersion = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]


class SidecarPort(Model):
    """A port of a listener."""

    number: UInt = 0
    protocol: Text = ""
    name: Text = ""
    target_port: UInt = 0


class TLSCertificate(Model):
    """The files of a certificate."""

    server_certificate: Text = ""
    private_key: Text = ""
    ca_certificates: Text = ""


class ServerTLSSettings(Model):
    """TLS that a listener terminates."""

    mode: Literal["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"] = "PASSTHROUGH"
    https_redirect: Bool = False
    server_certificate: Text = ""
    private_key: Text = ""
    ca_certificates: Text = ""
    ca_crl: Text = ""
    credential_name: Text = ""
    credential_names: Annotated[Texts, Field(min_length=1, max_length=2)] = ()
    tls_certificates: Annotated[tuple[TLSCertificate, ...], Field(min_length=1, max_length=2)] = ()
    ca_cert_credential_name: Text = ""
    subject_alt_names: Texts = ()
    verify_certificate_spki: Texts = ()
    verify_certificate_hash: Texts = ()
    min_protocol_version: TLSVersion = "TLS_AUTO"
    max_protocol_version: TLSVersion = "TLS_AUTO"
    cipher_suites: Texts = ()
    insecure_skip_verify: Bool | None = None


class IngressListener(Model):
    """A listener for connections to the workload."""

    port: SidecarPort
    bind: Text = ""
    capture_mode: CaptureMode = "DEFAULT"
    default_endpoint: Text = ""
    tls: ServerTLSSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None


class EgressListener(Model):
    """A listener for connections from the workload, and the hosts that are seen through it."""

    port: SidecarPort | None = None
    bind: Text = ""
    capture_mode: CaptureMode = "DEFAULT"
    hosts: Hosts


class OutboundTrafficPolicy(Model):
    """What becomes of traffic to unknown destinations."""

    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY"] = "REGISTRY_ONLY"
    egress_proxy: Unsupported[Destination | None] = None


class SidecarSpec(Model):
    """The listeners of some workloads."""

    workload_selector: WorkloadLabelSelector | None = None
    ingress: tuple[IngressListener, ...] = ()
    egress: tuple[EgressListener, ...] = ()
    inbound_connection_pool: ConnectionPoolSettings | None = None
    outbound_traffic_policy: OutboundTrafficPolicy | None = None


class Sidecar(KubernetesObject):
    """What the proxies of some workloads listen on, and what they see."""

    group_kind: ClassVar[GroupKind] = SIDECAR

    spec: SidecarSpec = SidecarSpec()
