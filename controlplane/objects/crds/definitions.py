"""From a kind to its CustomResourceDefinition: names, versions, columns, status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controlplane.model.keys import NAVARCH
from controlplane.objects.crds.schemas import Schema, schema
from controlplane.objects.kinds import KINDS
from controlplane.objects.types.scalars import Model

_API = "apiextensions.k8s.io/v1"
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_STATUS: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_STORED = ("v1", "v1beta1", "v1alpha3", "v1alpha1")


@dataclass(frozen=True, slots=True)
class Presentation:
    """How kubectl names and lists a kind: its short names, and columns as name, path in the object, and description."""

    short: tuple[str, ...] = ()
    columns: tuple[tuple[str, str, str], ...] = ()
    spec_required: bool = False


PRESENTATIONS: Mapping[str, Presentation] = {
    "VirtualService": Presentation(
        ("vs",), (("Gateways", ".spec.gateways", "The gateways that apply these routes"), ("Hosts", ".spec.hosts", "The hosts routed"))
    ),
    "DestinationRule": Presentation(("dr",), (("Host", ".spec.host", "The service"),)),
    "Gateway": Presentation(("gw",)),
    "ServiceEntry": Presentation(
        ("se",),
        (
            ("Hosts", ".spec.hosts", "The hosts declared"),
            ("Location", ".spec.location", "Whether they are part of the mesh"),
            ("Resolution", ".spec.resolution", "How their endpoints are found"),
        ),
        spec_required=True,
    ),
    "WorkloadEntry": Presentation(("we",), (("Address", ".spec.address", "The address of the workload"),), spec_required=True),
    "WorkloadGroup": Presentation(("wg",), spec_required=True),
    "WasmPlugin": Presentation(spec_required=True),
    "TrafficExtension": Presentation(spec_required=True),
    "PeerAuthentication": Presentation(("pa",), (("Mode", ".spec.mtls.mode", "Which mutual TLS is asked for"),)),
    "RateLimit": Presentation(
        ("rl",),
        (("Mode", ".spec.mode", "Whether it is enforced"), ("Service", ".spec.global.service.host", "Who counts, if not each proxy")),
        spec_required=True,
    ),
    "Drill": Presentation((), (("Order", ".spec.order", "Whether faults come together"),), spec_required=True),
    "RequestAuthentication": Presentation(("ra",)),
    "AuthorizationPolicy": Presentation(("ap",), (("Action", ".spec.action", "What becomes of matching requests"),)),
    "Telemetry": Presentation(("telemetry",)),
}


def definitions() -> Iterator[Mapping[str, object]]:
    """Yield the CustomResourceDefinition of every kind of Istio's, and of our own, that is read, sorted by name."""
    custom_kinds = {
        (group, kind): kind_info
        for (group, kind), kind_info in KINDS.items()
        if (group.endswith(".istio.io") or group == NAVARCH) and kind_info.spec
    }
    for group, kind in sorted(custom_kinds):
        readable = custom_kinds[group, kind]
        if readable.spec is not None:
            yield _definition(group, kind, readable.versions, readable.spec)


def _definition(group: str, kind: str, versions: tuple[str, ...], spec: type[Model]) -> Mapping[str, object]:
    presentation = PRESENTATIONS.get(kind, Presentation())
    plural = _plural(kind)
    names: Schema = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "categories": [*(() if group == NAVARCH else ("istio-io",)), group.replace(".", "-")],
    }
    if presentation.short and presentation.short != (kind.lower(),):
        names["shortNames"] = list(presentation.short)
    stored = next(version for version in _STORED if version in versions)
    return {
        "apiVersion": _API,
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": names,
            "scope": "Namespaced",
            "versions": [_version(version, schema(spec), presentation, is_stored=version == stored) for version in versions],
        },
    }


def _version(name: str, spec: Schema, presentation: Presentation, *, is_stored: bool) -> Schema:
    required: Schema = {"required": ["spec"]} if presentation.spec_required else {}
    columns = [{"name": title, "type": "string", "jsonPath": path, "description": text} for title, path, text in presentation.columns]
    return {
        "name": name,
        "served": True,
        "storage": is_stored,
        "additionalPrinterColumns": [*columns, _AGE],
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": _STATUS}, **required}},
    }


def _plural(kind: str) -> str:
    name = kind.lower()
    return name[:-1] + "ies" if name.endswith("y") and name[-2] not in "aeiou" else name + "s"
