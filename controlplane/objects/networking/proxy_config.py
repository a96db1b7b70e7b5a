"""ProxyConfig: settings of the proxies themselves.

https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, Strict, ValidationError
from pydantic.alias_generators import to_camel

from controlplane.model.keys import NETWORKING
from controlplane.objects.reading.sanitize import InvalidJson, sanitized
from controlplane.objects.reading.yaml import UnreadableError, compose
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import EMPTY_MAP, MAX_INT32, Bool, DurationOrZero, Map, Model, Port, Text, UInt
from controlplane.objects.types.selectors import WorkloadSelector


class ProxyImage(Model):
    """Which image of the proxy is used."""

    image_type: Text = ""


Concurrency = Annotated[int, Strict(), Field(ge=0, le=MAX_INT32)]


class ProxyProtocolConfiguration(Model):
    """The PROXY protocol, in either version; there is nothing to say about it."""


class GatewayTopology(Model):
    """What stands before a gateway, and what is believed of it.

    https://istio.io/latest/docs/ops/configuration/traffic-management/network-topologies/
    """

    num_trusted_proxies: UInt = 0  # how many addresses at the end of X-Forwarded-For are of proxies that are trusted
    forward_client_cert_details: Literal[
        "UNDEFINED", "SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"
    ] = "UNDEFINED"
    proxy_protocol: ProxyProtocolConfiguration | None = None


class ProxySettings(Model):
    """Settings of proxies, as MeshConfig's ``defaultConfig`` and the annotation ``proxy.istio.io/config`` say them, if they have an effect.

    https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig
    """

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel)

    concurrency: Concurrency | None = None  # 0: as many threads as there are cores
    drain_duration: DurationOrZero | None = None
    gateway_topology: GatewayTopology | None = None
    hold_application_until_proxy_starts: Bool | None = None
    interception_mode: Literal["REDIRECT", "TPROXY", "NONE"] | None = None
    status_port: Port | None = None
    termination_drain_duration: DurationOrZero | None = None

    def with_defaults(self, base: ProxySettings) -> ProxySettings:
        """Return these settings, and those of ``base`` where these say nothing."""
        explicit = {name: getattr(self, name) for name in self.model_fields_set & type(self).model_fields.keys()}
        return base.model_copy(update=explicit)


def annotated_settings(annotation: str) -> ProxySettings:
    """Return the settings in ``annotation``, ``proxy.istio.io/config`` of a pod; of one that cannot be read, none."""
    try:
        composed = compose(annotation)
        settings = composed.value if composed else None
        return ProxySettings.model_validate(sanitized(settings)) if isinstance(settings, dict) else ProxySettings()
    except (UnreadableError, InvalidJson, ValidationError):
        return ProxySettings()  # its pod was refused, or it was written after that


class ProxyConfigSpec(Model):
    """Settings of the proxies of some workloads, or of the namespace."""

    selector: WorkloadSelector | None = None
    concurrency: Concurrency | None = None
    environment_variables: Map[Annotated[Text, Field(max_length=2048)]] = EMPTY_MAP
    image: ProxyImage | None = None


class ProxyConfig(KubernetesObject):
    """Settings of the proxies themselves."""

    group: ClassVar[str] = NETWORKING

    spec: ProxyConfigSpec = ProxyConfigSpec()
