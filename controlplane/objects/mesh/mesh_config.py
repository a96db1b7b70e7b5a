"""The settings of the mesh: the ConfigMap ``istio`` of the root namespace, key ``mesh``, which holds YAML.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from controlplane.model.keys import CONFIG_MAP, GroupKind
from controlplane.model.mesh import ALLOW, METRIC_NAMES, METRIC_NAMINGS, PLAIN, PREFIXED, REFUSE, TENANT_ANNOTATIONS
from controlplane.objects.mesh import extension_providers, telemetry_rules
from controlplane.objects.mesh.extension_providers import ExtensionProvider
from controlplane.objects.networking.proxy_config import ProxySettings, check_annotations
from controlplane.objects.networking.rules.proxy_config import agent_variables
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.names import is_label
from controlplane.objects.types.scalars import MAX_PORT, Bool, DurationOrZero, Model, Text, Texts, UInt
from controlplane.objects.types.validation_errors import findings

FieldPath = tuple[str, ...]  # the names of fields as users write them, the outermost first
M = TypeVar("M", bound=BaseModel)
MESH_CONFIG_KEY = CONFIG_MAP.key("istio-system", "istio")
ENTRY = "mesh"
# https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#21-trust-domain
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}\Z")


class MeshOutboundTrafficPolicy(Model):
    """What becomes of traffic to unknown destinations."""

    mode: Literal["ALLOW_ANY", "REGISTRY_ONLY", "ALLOW_ANY_DYNAMIC_DNS"] = "ALLOW_ANY"


class ProxyPathNormalization(Model):
    """How paths are made comparable."""

    normalization: Literal["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] = "DEFAULT"


class DefaultProviders(Model):
    """The providers of what no Telemetry names one for."""

    tracing: Texts = ()
    metrics: Texts = ()
    access_logging: Texts = ()


class MeshConfigSpec(Model):
    """The fields of MeshConfig that have an effect; others give a warning."""

    outbound_traffic_policy: MeshOutboundTrafficPolicy = MeshOutboundTrafficPolicy()
    proxy_http_port: Annotated[UInt, Field(le=MAX_PORT)] = 0  # 0 or absent: no such listener
    trust_domain: Text = "cluster.local"
    trust_domain_aliases: Texts = ()
    root_namespace: Text = "istio-system"
    path_normalization: ProxyPathNormalization = ProxyPathNormalization()
    h2_upgrade_policy: Literal["DO_NOT_UPGRADE", "UPGRADE"] = "DO_NOT_UPGRADE"
    protocol_detection_timeout: DurationOrZero | None = None  # 0 or absent: first bytes are waited for without end
    extension_providers: tuple[ExtensionProvider, ...] = ()
    default_providers: DefaultProviders = DefaultProviders()
    enable_tracing: Bool = True  # as ``defaultConfig.tracing`` says, where no Telemetry names a provider
    access_log_file: Text = ""  # where access logs go that no Telemetry speaks of; empty: nowhere
    access_log_encoding: Literal["TEXT", "JSON"] = "TEXT"
    access_log_format: Text = ""
    disable_envoy_listener_log: Bool = False
    enable_envoy_access_log_service: Bool = False  # the one of ``defaultConfig.envoyAccessLogService``
    default_config: ProxySettings = ProxySettings()


class MeshConfig(KubernetesObject):
    """The settings of the mesh."""

    group_kind: ClassVar[GroupKind] = CONFIG_MAP

    spec: MeshConfigSpec = Field(default=MeshConfigSpec())


@dataclass(frozen=True, slots=True)
class PartialMeshConfig:
    """Settings less the fields that were ``refused``, each by the names on the way to it."""

    config: MeshConfig
    refused: frozenset[FieldPath]

    def completed(self, before: MeshConfig | None) -> MeshConfig:
        """Return these settings, with the last good values that ``before`` has of what was refused, if there are any."""
        if before is None:
            return self.config
        spec = self.config.spec
        for path in sorted(self.refused):
            spec = _with_value_of(spec, before.spec, path)
        return self.config.model_copy(update={"spec": spec})


def read(metadata: Mapping[str, object], written: Mapping[str, object], path: str) -> tuple[PartialMeshConfig, list[Finding]]:
    """Return the settings ``written`` at ``path`` of a ConfigMap with ``metadata``, and what is wrong: a bad field takes no other away."""
    issues: list[Finding] = []
    refused: set[FieldPath] = set()
    try:
        config = _config(metadata, written)
    except ValidationError as error:
        issues += (Finding(found.path.replace("spec", path, 1), found.code, found.message) for found in findings(error))
        refused.update(_field_at(detail["loc"][1:], written) for detail in error.errors(include_url=False))
        config = _config(metadata, _without(written, refused))
    found = list(check(config, path))
    wrong = (finding.path.removeprefix(f"{path}.") for finding in found if finding.fatal and finding.path.startswith(f"{path}."))
    refused.update((re.split(r"[.\[]", name)[0],) for name in wrong)
    return PartialMeshConfig(_config(metadata, _without(written, refused)), frozenset(refused)), [*issues, *found]


def _config(metadata: Mapping[str, object], written: Mapping[str, object]) -> MeshConfig:
    return MeshConfig.model_validate({"kind": CONFIG_MAP.kind, "metadata": metadata, "spec": written})


def _field_at(location: tuple[int | str, ...], written: Mapping[str, object]) -> FieldPath:
    """Return the innermost field around ``location`` that is ``written``; a list is refused as a whole."""
    path: list[str] = []
    value: object = written
    for name in location:
        if not isinstance(name, str) or not isinstance(value, dict) or name not in value:
            break
        path.append(name)
        value = value[name]
    return tuple(path)


def _without(written: Mapping[str, object], refused: Collection[FieldPath]) -> Mapping[str, object]:
    """Return ``written`` less the fields that are ``refused``."""
    kept: dict[str, object] = {}
    for name, value in written.items():
        below = {path[1:] for path in refused if path[0] == name}
        if () not in below:
            kept[name] = _without(value, below) if below and isinstance(value, dict) else value
    return kept


def _with_value_of(model: M, before: M, path: FieldPath) -> M:
    """Return ``model`` with what ``before`` has at ``path``."""
    name = next(name for name, field in type(model).model_fields.items() if (field.alias or name) == path[0])
    now, then = getattr(model, name), getattr(before, name)
    if len(path) > 1 and isinstance(now, BaseModel) and isinstance(then, BaseModel):
        return model.model_copy(update={name: _with_value_of(now, then, path[1:])})
    return model.model_copy(update={name: then})


def check(mesh_config: MeshConfig, path: str) -> Iterator[Finding]:
    """Yield what is wrong with the settings ``mesh_config``, which stand at ``path`` of their ConfigMap."""
    spec = mesh_config.spec
    aliases = ((f"trustDomainAliases[{index}]", alias) for index, alias in enumerate(spec.trust_domain_aliases))
    for name, trust_domain in (("trustDomain", spec.trust_domain), *aliases):
        if not _TRUST_DOMAIN.match(trust_domain):
            expected = "lower-case letters, digits, '.', '-' and '_', as in cluster.local"
            yield Finding(f"{path}.{name}", "OutOfRange", f"expected {expected}, found {trust_domain[:80]!r}")
    if not is_label(mesh_config.spec.root_namespace):
        yield Finding(f"{path}.rootNamespace", "OutOfRange", f"expected a namespace, found {mesh_config.spec.root_namespace[:80]!r}")
    yield from check_annotations(mesh_config.meta.annotations)
    for name in TENANT_ANNOTATIONS:
        if (text := mesh_config.meta.annotations.get(name, ALLOW)) not in (ALLOW, REFUSE):
            message = f"expected {ALLOW} or {REFUSE}, found {text[:80]!r}: this is taken for {REFUSE}"
            yield Finding(f"metadata.annotations.{name}", "OutOfRange", message)
    if (text := mesh_config.meta.annotations.get(METRIC_NAMES, PLAIN)) not in METRIC_NAMINGS:
        message = f"expected {PLAIN} or {PREFIXED}, found {text[:80]!r}: this is taken for {PLAIN}"
        yield Finding(f"metadata.annotations.{METRIC_NAMES}", "OutOfRange", message)
    if spec.outbound_traffic_policy.mode == "ALLOW_ANY_DYNAMIC_DNS":
        message = "this is taken for ALLOW_ANY: no name is looked up, traffic to unknown hosts goes to the address that the client chose"
        yield Finding(f"{path}.outboundTrafficPolicy.mode", "NotTranslated", message, fatal=False)
    yield from agent_variables(spec.default_config.proxy_metadata or {}, f"{path}.defaultConfig.proxyMetadata")
    yield from extension_providers.check(spec.extension_providers, f"{path}.extensionProviders")
    for index, provider in enumerate(spec.extension_providers):
        yield from telemetry_rules.check_provider(f"{path}.extensionProviders[{index}]", provider)
    yield from telemetry_rules.check_log_settings(path, spec.access_log_file, spec.access_log_encoding, spec.access_log_format)
    yield from telemetry_rules.check_proxies(f"{path}.defaultConfig", spec.default_config)
