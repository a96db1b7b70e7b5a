"""How proxies trace where no Telemetry says it: a part of their settings."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from controlplane.objects.telemetry.custom_tags import CustomTag
from controlplane.objects.types.scalars import EMPTY_MAP, MAX_PORT, Bool, Double, Map, Model, Text, UInt

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}\Z")
_NUMBER = re.compile(r"[0-9]{1,9}\Z")


def _host_and_port(text: str) -> str:
    host, _, port = text.rpartition(":")
    if _HOST.match(host) and _NUMBER.match(port) and 0 < int(port) <= MAX_PORT:
        return text
    raise PydanticCustomError("address", "expected HOST:PORT, as zipkin.istio-system:9411")


class RemoteService(Model):
    """Where telemetry goes: ``HOST:PORT``."""

    address: Annotated[Text, AfterValidator(_host_and_port)] = ""  # empty: nowhere


class ProxyTracing(Model):
    """How proxies trace where no Telemetry says it.

    https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#Tracing
    """

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel)

    zipkin: RemoteService | None = None
    datadog: RemoteService | None = None
    custom_tags: Map[CustomTag] = EMPTY_MAP
    max_path_tag_length: UInt = 0  # in bytes; 0: as Envoy has it
    sampling: Annotated[Double, Field(ge=0)] | None = None  # percent
    enable_istio_tags: Bool | None = None
