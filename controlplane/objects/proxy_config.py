"""ProxyConfig: settings of the proxies themselves.

https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Strict
from pydantic.alias_generators import to_camel

from controlplane.objects.meta import KubernetesObject
from controlplane.objects.scalars import MAX_INT32, NOTHING, Bool, DurationOrZero, Map, Model, Port, Text
from controlplane.objects.selectors import WorkloadSelector


class ProxyImage(Model):
    """Which image of the proxy is used."""

    image_type: Text = ""


Concurrency = Annotated[int, Strict(), Field(ge=0, le=MAX_INT32)]


class ProxySettings(Model):
    """Settings of proxies, as MeshConfig's ``defaultConfig`` and the annotation ``proxy.istio.io/config`` say them, if they have an effect.

    https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig
    """

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel)

    concurrency: Concurrency | None = None  # 0: as many threads as there are cores
    drain_duration: DurationOrZero | None = None
    hold_application_until_proxy_starts: Bool | None = None
    interception_mode: Literal["REDIRECT", "TPROXY", "NONE"] | None = None
    status_port: Port | None = None
    termination_drain_duration: DurationOrZero | None = None

    def over(self, base: ProxySettings) -> ProxySettings:
        """Return these settings, and those of ``base`` where these say nothing."""
        said = {name: getattr(self, name) for name in self.model_fields_set & type(self).model_fields.keys()}
        return base.model_copy(update=said)


class ProxyConfigSpec(Model):
    """Settings of the proxies of some workloads, or of the namespace."""

    selector: WorkloadSelector | None = None
    concurrency: Concurrency | None = None
    environment_variables: Map[Annotated[Text, Field(max_length=2048)]] = NOTHING
    image: ProxyImage | None = None


class ProxyConfig(KubernetesObject):
    """Settings of the proxies themselves."""

    spec: ProxyConfigSpec = ProxyConfigSpec()
