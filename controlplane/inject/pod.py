"""A pod as admission gets it: read without trusting its shape, as far as injection looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controlplane.errors import UserError
from controlplane.inject.annotations import Annotations
from controlplane.model.proxies import PROXY_CONTAINER
from controlplane.model.telemetry.workloads import workload_of_pod
from controlplane.objects.reading.sanitize import MAX_DEPTH
from controlplane.objects.types.names import is_label
from controlplane.untyped import Json, is_deeper, items, section, text

MAX_CONTAINERS = 256


class BadPod(UserError, ValueError):
    """A pod that nothing can be put into: which fields, and what was expected."""

    def __init__(self, *problems: str) -> None:
        """Say the ``problems``."""
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidatePod:
    """A pod, or the template that pods are made from."""

    data: Json
    namespace: str
    labels: Mapping[str, str]
    annotations: Annotations
    spec: Json
    containers: tuple[Json, ...]
    init_containers: tuple[Json, ...]
    template_of: str = ""  # the workload, where the caller knows it

    @property
    def name(self) -> str:
        """Return its name, which it may be to get from ``generateName``."""
        metadata = section(self.data, "metadata")
        return text(metadata, "name") or text(metadata, "generateName")

    @property
    def workload(self) -> str:
        """Return what it is a part of: its owner, or the owner of that, or else itself."""
        if self.template_of:
            return self.template_of
        metadata = section(self.data, "metadata")
        owner = next((reference for reference in items(metadata, "ownerReferences") if reference.get("controller") is True), {})
        own_name = text(metadata, "name") or text(metadata, "generateName").rstrip("-")
        return workload_of_pod((text(owner, "kind"), text(owner, "name")), own_name, self.labels)

    @property
    def canonical_name(self) -> str:
        """Return the canonical name of its service.

        https://istio.io/latest/docs/reference/config/labels/
        """
        named = (self.labels.get(label) for label in ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app"))
        return next(filter(None, named), self.workload)[:63].rstrip("-_.")

    @property
    def application_containers(self) -> tuple[Json, ...]:
        """Return the containers beside the proxy."""
        return tuple(container for container in self.containers if container["name"] != PROXY_CONTAINER)


def candidate_pod(data: Json, namespace: str, template_of: str = "") -> CandidatePod:
    """Return the pod ``data`` in ``namespace``, perhaps the template of the workload ``template_of``; raises BadPod for another shape."""
    problems = tuple(_shape_problems(data))
    if problems:
        raise BadPod(*problems)
    metadata, spec = section(data, "metadata"), section(data, "spec")
    return CandidatePod(
        data=data,
        namespace=namespace,
        labels={name: str(value) for name, value in section(metadata, "labels").items()},
        annotations=Annotations({name: str(value) for name, value in section(metadata, "annotations").items()}),
        spec=spec,
        containers=items(spec, "containers"),
        init_containers=items(spec, "initContainers"),
        template_of=template_of,
    )


def _shape_problems(data: Json) -> Iterator[str]:
    if is_deeper(data, MAX_DEPTH):
        yield f"expected at most {MAX_DEPTH} levels"
        return
    metadata = data.get("metadata", {})
    if not isinstance(metadata, dict):
        yield "metadata: expected an object"
    else:
        for name in ("labels", "annotations"):
            value = metadata.get(name)
            if value is not None and not (isinstance(value, dict) and all(isinstance(entry, str) for entry in value.values())):
                yield f"metadata.{name}: expected a map of strings"
    spec = data.get("spec")
    if not isinstance(spec, dict):
        yield "spec: expected an object"
        return
    if not spec.get("containers"):
        yield "spec.containers: expected at least one"
    for name in ("containers", "initContainers"):
        yield from _container_problems(spec.get(name), f"spec.{name}")
    if not isinstance(spec.get("volumes") or [], list):
        yield "spec.volumes: expected a list"


def _container_problems(value: object, path: str) -> Iterator[str]:
    if value is None:
        return
    if not isinstance(value, list) or len(value) > MAX_CONTAINERS:
        yield f"{path}: expected a list of at most {MAX_CONTAINERS}"
        return
    for index, container in enumerate(value):
        name = container.get("name") if isinstance(container, dict) else None
        if not isinstance(name, str) or not is_label(name):
            yield f"{path}[{index}].name: expected a name of lower-case letters, digits and '-'"
    names = [container.get("name") for container in value if isinstance(container, dict)]
    if len(set(map(str, names))) != len(names):
        yield f"{path}: expected names that differ"
