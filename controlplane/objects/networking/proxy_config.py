"""ProxyConfig: settings of the proxies themselves.

https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field, Strict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from controlplane.model.keys import PROXY_CONFIG_KIND, GroupKind
from controlplane.model.proxies import MAX_REQUEST_HEADERS_KB, METADATA, PROXY_CONFIG
from controlplane.objects.reading.sanitize import InvalidJson, sanitized
from controlplane.objects.reading.yaml import UnreadableError, compose
from controlplane.objects.telemetry.proxy_tracing import ProxyTracing, RemoteService
from controlplane.objects.telemetry.rules import check_tag
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.regex import MAX_LENGTH, regex_error
from controlplane.objects.types.rules import out_of_range
from controlplane.objects.types.scalars import (
    EMPTY_MAP,
    MAX_INT32,
    Bool,
    DurationOrZero,
    FrozenMap,
    Map,
    Model,
    Port,
    Text,
    UInt,
)
from controlplane.objects.types.selectors import WorkloadSelector

MOST_HEADERS_KB = 8192  # as Envoy has it
_NUMBER = re.compile(r"[0-9]{1,9}\Z")


# The variables of a proxy's container that its bootstrap is completed from, by what the kubelet knows.
OWN_VARIABLES = frozenset(("HOST_IP", "INSTANCE_IP", "INSTANCE_IPS", "NODE_NAME", "POD_NAME", "POD_NAMESPACE", "SERVICE_ACCOUNT"))
METADATA_PREFIX = "ISTIO_META_"  # of variables that become metadata of the proxy's node
_OWN_METADATA = frozenset(("NAME", *METADATA))
# What only Istio's agent reads, which no pod has. https://istio.io/latest/docs/reference/commands/pilot-agent/#envvars
AGENT_VARIABLES = frozenset(
    (
        "CA_ADDR",
        "CA_PROVIDER",
        "CREDENTIAL_FETCHER_TYPE",
        "ECC_SIGNATURE_ALGORITHM",
        "EXIT_ON_ZERO_ACTIVE_CONNECTIONS",
        "FILE_MOUNTED_CERTS",
        "GCP_METADATA",
        "ISTIO_DELTA_XDS",
        "ISTIO_META_DNS_AUTO_ALLOCATE",
        "ISTIO_META_DNS_CAPTURE",
        "ISTIO_META_ENABLE_HBONE",
        "JWT_POLICY",
        "MINIMUM_DRAIN_DURATION",
        "OUTPUT_CERTS",
        "PILOT_CERT_PROVIDER",
        "PKCS8_KEY",
        "PROV_CERT",
        "PROXY_XDS_VIA_AGENT",
        "SECRET_TTL",
        "TERMINATION_DRAIN_DURATION_SECONDS",
        "TOKEN_AUDIENCES",
        "WASM_INSECURE_REGISTRIES",
        "XDS_AUTH_PROVIDER",
    )
)
_MOST_VARIABLES = 256
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]{0,252}\Z")  # as the API server has it
_IMAGE_TYPE = re.compile(r"[a-zA-Z0-9_][-.a-zA-Z0-9_]{0,63}\Z")  # a part of a tag


def _variables(variables: Mapping[str, str]) -> Mapping[str, str]:
    if len(variables) > _MOST_VARIABLES:
        raise PydanticCustomError("variables", "expected at most {most}", {"most": _MOST_VARIABLES})
    for name in variables:
        told = {"name": repr(name[:80])}
        if not _VARIABLE.match(name):
            raise PydanticCustomError("variables", "expected names of letters, digits, '-', '.' and '_', found {name}", told)
        if name in OWN_VARIABLES or (name.startswith(METADATA_PREFIX) and name.removeprefix(METADATA_PREFIX) in _OWN_METADATA):
            raise PydanticCustomError("variables", "expected another name than {name}, by which every proxy is told of itself", told)
    return variables


def _image_type(text: str) -> str:
    if text and not _IMAGE_TYPE.match(text):
        raise PydanticCustomError("image_type", "expected default, debug, distroless, or another beginning of a tag")
    return text


Variables = Annotated[Map[Annotated[Text, Field(max_length=2048)]], AfterValidator(_variables)]


class ProxyImage(Model):
    """Which image of the proxy is used."""

    image_type: Annotated[Text, AfterValidator(_image_type)] = ""


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


_Window = Annotated[int, Strict(), Field(ge=65_535, le=MAX_INT32)]  # of HTTP/2, from what RFC 9113 begins with


class ProxyConnections(Model):
    """How much a proxy takes in at a time of one connection."""

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel)

    listener_per_connection_buffer_limit_bytes: Annotated[UInt, Field(ge=1)] | None = None
    http_max_concurrent_streams: Annotated[int, Strict(), Field(ge=1, le=MAX_INT32)] | None = None
    http2_initial_stream_window_size: _Window | None = Field(default=None, alias="http2InitialStreamWindowSize")
    http2_initial_connection_window_size: _Window | None = Field(default=None, alias="http2InitialConnectionWindowSize")
    http_request_headers_timeout: DurationOrZero | None = None


def _regular(text: str) -> str:
    if error := regex_error(text):
        raise PydanticCustomError("regular_range", "{why}", {"why": error})
    return text


_Part = Annotated[Text, Field(min_length=1, max_length=MAX_LENGTH)]
_Parts = Annotated[tuple[_Part, ...], Field(max_length=256)]
_Regulars = Annotated[tuple[Annotated[_Part, AfterValidator(_regular)], ...], Field(max_length=256)]


class ProxyStatsMatcher(Model):
    """Which statistics a proxy keeps besides those that each does, by their names."""

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel)

    inclusion_prefixes: _Parts = ()
    inclusion_suffixes: _Parts = ()
    inclusion_regexps: _Regulars = ()

    def with_defaults(self, base: ProxyStatsMatcher) -> ProxyStatsMatcher:
        """Return this, with the lists of ``base`` that this has none of."""
        return base.model_copy(update={name: getattr(self, name) for name in self.model_fields_set & type(self).model_fields.keys()})


class ProxySettings(Model):
    """Settings of proxies, as MeshConfig's ``defaultConfig`` and the annotation ``proxy.istio.io/config`` say them, if they have an effect.

    https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig
    """

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel)

    concurrency: Concurrency | None = None  # 0: as many threads as there are cores
    connection_settings: ProxyConnections | None = None
    drain_duration: DurationOrZero | None = None
    envoy_access_log_service: RemoteService | None = None
    gateway_topology: GatewayTopology | None = None
    hold_application_until_proxy_starts: Bool | None = None
    image: ProxyImage | None = None
    interception_mode: Literal["REDIRECT", "TPROXY", "NONE"] | None = None
    proxy_metadata: Variables | None = None  # environment variables of the proxy
    proxy_stats_matcher: ProxyStatsMatcher | None = None
    status_port: Port | None = None
    tracing: ProxyTracing | None = None
    tracing_service_name: Literal["APP_LABEL_AND_NAMESPACE", "CANONICAL_NAME_ONLY", "CANONICAL_NAME_AND_NAMESPACE"] | None = None
    termination_drain_duration: DurationOrZero | None = None

    def with_defaults(self, base: ProxySettings) -> ProxySettings:
        """Return these settings, and those of ``base`` where these say nothing."""
        explicit = {name: getattr(self, name) for name in self.model_fields_set & type(self).model_fields.keys()}
        if self.proxy_stats_matcher and base.proxy_stats_matcher:
            explicit["proxy_stats_matcher"] = self.proxy_stats_matcher.with_defaults(base.proxy_stats_matcher)
        if self.proxy_metadata and base.proxy_metadata:
            explicit["proxy_metadata"] = FrozenMap({**base.proxy_metadata, **self.proxy_metadata})
        return base.model_copy(update=explicit)

    def without_effect(self) -> Iterator[str]:
        """Yield the fields that are here and mean nothing for a proxy of its own."""
        for part in (self, self.connection_settings, self.proxy_stats_matcher, self.tracing):
            yield from sorted(part.model_extra or {} if part else {})
        if self.envoy_access_log_service:
            yield "envoyAccessLogService"
        yield from (f"proxyMetadata.{name}" for name in sorted(AGENT_VARIABLES.intersection(self.proxy_metadata or ())))


NO_SETTINGS = ProxySettings()


def max_request_headers_kb(annotations: Mapping[str, str]) -> int | None:
    """Return how large the headers of a request may be, in KiB, by ``annotations``; ``None`` where they say nothing that can be."""
    text = annotations.get(MAX_REQUEST_HEADERS_KB, "")
    return int(text) if _NUMBER.match(text) and 1 <= int(text) <= MOST_HEADERS_KB else None


def check_annotations(annotations: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is wrong with ``annotations`` as far as they are settings of proxies."""
    text = annotations.get(MAX_REQUEST_HEADERS_KB)
    if text is not None and max_request_headers_kb(annotations) is None:
        yield out_of_range(f"metadata.annotations.{MAX_REQUEST_HEADERS_KB}", f"a number from 1 to {MOST_HEADERS_KB}", text)


def annotated_settings(annotation: str) -> ProxySettings:
    """Return the settings in ``annotation``, ``proxy.istio.io/config`` of a pod; of one that cannot be read, none."""
    return _read(annotation) or ProxySettings()


def unread_annotations(annotations: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of those ``annotations`` that are settings of a proxy and cannot be read."""
    if PROXY_CONFIG in annotations and _read(annotations[PROXY_CONFIG]) is None:
        yield PROXY_CONFIG
    if MAX_REQUEST_HEADERS_KB in annotations and max_request_headers_kb(annotations) is None:
        yield MAX_REQUEST_HEADERS_KB


def _read(annotation: str) -> ProxySettings | None:
    try:
        composed = compose(annotation)
        written = composed.value if composed else None
        settings = ProxySettings.model_validate(sanitized(written or {})) if written is None or isinstance(written, dict) else None
    except (UnreadableError, InvalidJson, ValidationError):
        return None
    tags = settings.tracing.custom_tags if settings and settings.tracing else {}
    return None if any(finding.fatal for tag in tags.values() for finding in check_tag("", tag)) else settings


class ProxyConfigSpec(Model):
    """Settings of the proxies of some workloads, or of the namespace."""

    selector: WorkloadSelector | None = None
    concurrency: Concurrency | None = None
    environment_variables: Variables = EMPTY_MAP
    image: ProxyImage | None = None

    @property
    def settings(self) -> ProxySettings:
        """Return what is said, as settings of proxies, which call the variables metadata."""
        said = {"concurrency": self.concurrency, "image": self.image, "proxy_metadata": self.environment_variables or None}
        return NO_SETTINGS.model_copy(update={name: value for name, value in said.items() if value is not None})


class ProxyConfig(KubernetesObject):
    """Settings of the proxies themselves."""

    group_kind: ClassVar[GroupKind] = PROXY_CONFIG_KIND

    spec: ProxyConfigSpec = ProxyConfigSpec()
