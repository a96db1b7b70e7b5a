"""ProxyConfig: settings of the proxies themselves.

https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Strict

from controlplane.objects.meta import KubernetesObject
from controlplane.objects.scalars import MAX_INT32, NOTHING, Map, Model, Text
from controlplane.objects.selectors import WorkloadSelector


class ProxyImage(Model):
    """Which image of the proxy is used."""

    image_type: Text = ""


class ProxyConfigSpec(Model):
    """Settings of the proxies of some workloads, or of the namespace."""

    selector: WorkloadSelector | None = None
    concurrency: Annotated[int, Strict(), Field(ge=0, le=MAX_INT32)] | None = None
    environment_variables: Map[Annotated[Text, Field(max_length=2048)]] = NOTHING
    image: ProxyImage | None = None


class ProxyConfig(KubernetesObject):
    """Settings of the proxies themselves."""

    spec: ProxyConfigSpec = ProxyConfigSpec()
