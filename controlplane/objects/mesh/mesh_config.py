"""The settings of the mesh: the ConfigMap ``istio`` of the root namespace, key ``mesh``, which holds YAML.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from controlplane.model.keys import CONFIG_MAP
from controlplane.objects.mesh import extension_providers
from controlplane.objects.mesh.extension_providers import ExtensionProvider
from controlplane.objects.networking.proxy_config import ProxySettings, check_annotations
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.names import is_label
from controlplane.objects.types.scalars import MAX_PORT, Model, Text, Texts, UInt
from controlplane.objects.types.validation_errors import findings

MESH_CONFIG_KEY = CONFIG_MAP.key("istio-system", "istio")
ENTRY = "mesh"
_FIELD_END = re.compile(r"[.\[]")
# https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#21-trust-domain
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}\Z")


class MeshOutboundTrafficPolicy(Model):
    """What becomes of traffic to unknown destinations."""

    mode: Literal["ALLOW_ANY", "REGISTRY_ONLY", "ALLOW_ANY_DYNAMIC_DNS"] = "ALLOW_ANY"


class ProxyPathNormalization(Model):
    """How paths are made comparable."""

    normalization: Literal["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] = "DEFAULT"


class MeshConfigSpec(Model):
    """The fields of MeshConfig that have an effect; others give a warning."""

    outbound_traffic_policy: MeshOutboundTrafficPolicy = MeshOutboundTrafficPolicy()
    proxy_http_port: Annotated[UInt, Field(le=MAX_PORT)] = 0  # 0 or absent: no such listener
    trust_domain: Text = "cluster.local"
    trust_domain_aliases: Texts = ()
    root_namespace: Text = "istio-system"
    path_normalization: ProxyPathNormalization = ProxyPathNormalization()
    h2_upgrade_policy: Literal["DO_NOT_UPGRADE", "UPGRADE"] = "DO_NOT_UPGRADE"
    extension_providers: tuple[ExtensionProvider, ...] = ()
    default_config: ProxySettings = ProxySettings()


class MeshConfig(KubernetesObject):
    """The settings of the mesh."""

    spec: MeshConfigSpec = Field(default=MeshConfigSpec())


@dataclass(frozen=True, slots=True)
class PartialMeshConfig:
    """Settings less the fields that were ``refused``, by their names in the models."""

    config: MeshConfig
    refused: frozenset[str]

    def completed(self, before: MeshConfig | None) -> MeshConfig:
        """Return these settings, with the last good values that ``before`` has of what was refused, if there are any."""
        if before is None:
            return self.config
        kept = {name: getattr(before.spec, name) for name in self.refused}
        return self.config.model_copy(update={"spec": self.config.spec.model_copy(update=kept)})


def read(metadata: Mapping[str, object], written: Mapping[str, object], path: str) -> tuple[PartialMeshConfig, list[Finding]]:
    """Return the settings ``written`` at ``path`` of a ConfigMap with ``metadata``, and what is wrong: a bad field takes no other away."""
    issues: list[Finding] = []
    refused: set[str] = set()
    try:
        config = _config(metadata, written)
    except ValidationError as error:
        issues += (Finding(found.path.replace("spec", path, 1), found.code, found.message) for found in findings(error))
        refused.update(str(detail["loc"][1]) for detail in error.errors(include_url=False) if len(detail["loc"]) > 1)
        config = _config(metadata, _without(written, refused))
    issues += (found := list(check(config, path)))
    refused.update(_FIELD_END.split(finding.path.removeprefix(f"{path}."))[0] for finding in found if finding.fatal)
    names = frozenset(name for name, field in MeshConfigSpec.model_fields.items() if (field.alias or name) in refused)
    return PartialMeshConfig(_config(metadata, _without(written, refused)), names), issues


def _config(metadata: Mapping[str, object], written: Mapping[str, object]) -> MeshConfig:
    return MeshConfig.model_validate({"kind": CONFIG_MAP.kind, "metadata": metadata, "spec": written})


def _without(written: Mapping[str, object], refused: Container[str]) -> Mapping[str, object]:
    return {name: value for name, value in written.items() if name not in refused}


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
    if spec.outbound_traffic_policy.mode == "ALLOW_ANY_DYNAMIC_DNS":
        message = "this is taken for ALLOW_ANY: no name is looked up, traffic to unknown hosts goes to the address that the client chose"
        yield Finding(f"{path}.outboundTrafficPolicy.mode", "NotTranslated", message, fatal=False)
    yield from extension_providers.check(spec.extension_providers, f"{path}.extensionProviders")
