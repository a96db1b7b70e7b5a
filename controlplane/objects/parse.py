"""One document to one typed, frozen object, or to Problems that say which field is wrong and what was expected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import ValidationError

from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects import mesh_config, names
from controlplane.objects.composer import Unreadable, compose
from controlplane.objects.core import EndpointSlice, Namespace, Pod, Service, ServiceAccount
from controlplane.objects.destination_rule import DestinationRule, DestinationRuleSpec
from controlplane.objects.faults import findings
from controlplane.objects.mesh_config import MeshConfig, MeshConfigSpec
from controlplane.objects.review import Finding, without_effect
from controlplane.objects.rules import destination_rule, service_entry, sidecar, virtual_service
from controlplane.objects.scalars import Model
from controlplane.objects.service_entry import ServiceEntry, ServiceEntrySpec, WorkloadEntry, WorkloadSpec
from controlplane.objects.sidecar import Sidecar, SidecarSpec
from controlplane.objects.virtual_service import VirtualService, VirtualServiceSpec

Object: TypeAlias = (
    Service | EndpointSlice | Pod | Namespace | ServiceAccount | MeshConfig | VirtualService | DestinationRule | ServiceEntry | WorkloadEntry | Sidecar
)

NETWORKING = "networking.istio.io"
_VERSIONS = ("v1", "v1beta1", "v1alpha3")
_ISTIO_GROUPS = (NETWORKING, "security.istio.io", "telemetry.istio.io", "extensions.istio.io", "gateway.networking.k8s.io")
_CLUSTER_SCOPED = ("Namespace",)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a document says: whose it is, the object unless it is quarantined or of no use to us, and what is wrong with it."""

    key: Key | None
    object: Object | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kind:
    """How objects of one kind are read; ``spec`` only where unknown fields of it are told."""

    model: type[Object]
    versions: tuple[str, ...]
    spec: type[Model] | None = None
    rules: Callable[[Object], Iterable[Finding]] | None = None


_KINDS: Mapping[tuple[str, str], _Kind] = {
    ("", "Service"): _Kind(Service, ("v1",)),
    ("", "Pod"): _Kind(Pod, ("v1",)),
    ("", "Namespace"): _Kind(Namespace, ("v1",)),
    ("", "ServiceAccount"): _Kind(ServiceAccount, ("v1",)),
    ("discovery.k8s.io", "EndpointSlice"): _Kind(EndpointSlice, ("v1", "v1beta1")),
    (NETWORKING, "VirtualService"): _Kind(VirtualService, _VERSIONS, VirtualServiceSpec, virtual_service.check),
    (NETWORKING, "DestinationRule"): _Kind(DestinationRule, _VERSIONS, DestinationRuleSpec, destination_rule.check),
    (NETWORKING, "ServiceEntry"): _Kind(ServiceEntry, _VERSIONS, ServiceEntrySpec, service_entry.check),
    (NETWORKING, "WorkloadEntry"): _Kind(WorkloadEntry, _VERSIONS, WorkloadSpec, service_entry.check_workload),
    (NETWORKING, "Sidecar"): _Kind(Sidecar, _VERSIONS, SidecarSpec, sidecar.check),
}


def parse(data: Mapping[str, object]) -> Parsed:
    """Return what the document ``data`` says; never raises, whatever JSON it holds."""
    group, _, version = _text(data.get("apiVersion")).rpartition("/")
    kind = _text(data.get("kind"))
    if not kind or not version:
        return Parsed(None, problems=(Problem(None, "", Severity.ERROR, "NotAnObject", "expected a Kubernetes object with apiVersion and kind"),))
    metadata = data.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    namespace = "" if kind in _CLUSTER_SCOPED else _text(metadata.get("namespace")) or "default"
    key = Key(kind, namespace, _text(metadata.get("name")))
    if (group, kind) == ("", "ConfigMap"):
        return _mesh_config(key, data)
    known = _KINDS.get((group, kind))
    if known is None or version not in known.versions:
        return Parsed(key, problems=tuple(_unknown(key, group, version, kind, known)))
    return _typed(key, {**data, "metadata": {**metadata, "namespace": namespace}}, known)


def _typed(key: Key, data: Mapping[str, object], known: _Kind) -> Parsed:
    data = _without_nulls(data)
    found = list(names.check(key))
    value: Object | None = None
    try:
        value = known.model.model_validate(data)
    except ValidationError as error:
        found += findings(error)
    if value is not None and known.rules is not None:
        found += known.rules(value)
    spec = data.get("spec")
    if known.spec is not None and isinstance(spec, dict):
        found += without_effect(known.spec, spec, "spec")
    fatal = any(each.fatal for each in found)
    return Parsed(key, None if fatal else value, _problems(key, found))


def _mesh_config(key: Key, data: Mapping[str, object]) -> Parsed:
    if (key.namespace, key.name) != (mesh_config.NAMESPACE, mesh_config.NAME):
        return Parsed(key, problems=(_ignored(key),))
    content = data.get("data")
    text = content.get(mesh_config.ENTRY) if isinstance(content, dict) else None
    path = f"data.{mesh_config.ENTRY}"
    try:
        composed = compose(text) if isinstance(text, str) else None
    except Unreadable as error:
        return Parsed(key, problems=_problems(key, [Finding(path, "Unreadable", f"line {error.line + 1} of it: {error}")]))
    spec = composed.value if composed else {}
    if not isinstance(spec, dict):
        return Parsed(key, problems=_problems(key, [Finding(path, "WrongType", "expected the fields of MeshConfig, as YAML")]))
    spec = _without_nulls(spec)
    found = [
        Finding(each.path, "NotTranslated", "this setting is not translated: it has no effect", fatal=False)
        for each in without_effect(MeshConfigSpec, spec, path)
    ]
    try:
        value = MeshConfig.model_validate({"kind": key.kind, "metadata": {"name": key.name, "namespace": key.namespace}, "spec": spec})
    except ValidationError as error:
        found += (Finding(each.path.replace("spec", path, 1), each.code, each.message) for each in findings(error))
        return Parsed(key, problems=_problems(key, found))
    return Parsed(key, value, _problems(key, found))


def _unknown(key: Key, group: str, version: str, kind: str, known: _Kind | None) -> Iterator[Problem]:
    if known is not None:
        expected = ", ".join(known.versions)
        yield Problem(key, "apiVersion", Severity.ERROR, "UnknownVersion", f"expected one of {expected} of {group or 'core'}, found {version[:40]}")
    elif group in _ISTIO_GROUPS:
        enforced = "; nothing of it is enforced" if group.startswith("security") else ""
        yield Problem(key, "kind", Severity.WARNING, "KindNotTranslated", f"{kind[:80]} is not translated yet: it has no effect{enforced}")
    else:
        yield _ignored(key)


def _ignored(key: Key) -> Problem:
    return Problem(key, "kind", Severity.INFO, "KindIgnored", f"objects like this {key.kind[:80]} are not used")


def _problems(key: Key, found: Iterable[Finding]) -> tuple[Problem, ...]:
    return tuple(
        Problem(key, each.path, Severity.ERROR if each.fatal else Severity.WARNING, each.code, each.message) for each in dict.fromkeys(found)
    )


def _without_nulls(value: Mapping[str, object]) -> dict[str, object]:
    """Return ``value`` without its null fields, which in Kubernetes are as good as absent."""
    return {name: _cleaned(name, each) for name, each in value.items() if each is not None}


def _cleaned(name: str, value: object) -> object:
    if isinstance(value, dict):
        return _without_nulls(value)
    if isinstance(value, list):
        # A null condition is passed over, as Istio's validator does; a null anywhere else in a list is an error.
        return [_cleaned(name, each) for each in value if each is not None or name != "match"]
    return value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
