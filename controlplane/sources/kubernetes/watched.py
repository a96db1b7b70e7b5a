"""Which collections of the API server are watched: those of Kubernetes itself, and of the kinds of Istio those that are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from controlplane.kube.resources import CONFIG_MAPS, SECRETS, ApiResource
from controlplane.objects.mesh import mesh_config
from controlplane.objects.parse import readable_kinds
from controlplane.objects.types.names import CLUSTER_SCOPED
from controlplane.untyped import Json, items, section, text

_OWN = ("", "discovery.k8s.io")  # groups that are always there


@dataclass(frozen=True, slots=True)
class Collection:
    """What one watch is about: a resource, in one namespace or everywhere, all of it or one object."""

    resource: ApiResource
    namespace: str | None = None
    name: str | None = None

    def holds(self, namespace: str, name: str) -> bool:
        """Return whether the object ``name`` in ``namespace`` would be in it."""
        return self.namespace in (None, namespace) and self.name in (None, name)


@dataclass(frozen=True, slots=True)
class Definition:
    """A CustomResourceDefinition that is there: the first of our versions that it serves, ``None`` while it can give nothing."""

    group: str
    kind: str
    resource: ApiResource | None


def built_in_collections(namespaces: Iterable[str]) -> Iterator[Collection]:
    """Yield the collections of Kubernetes itself, everywhere or in ``namespaces``.

    In namespaced mode no rights beyond the namespaces are asked for: nodes are not watched.
    """
    chosen = tuple(namespaces)
    for group, kind, versions in readable_kinds():
        if group not in _OWN or kind == SECRETS.kind:
            continue  # Secrets are read one by one, by whoever needs them
        resource = ApiResource(group, versions[0], plural(kind), kind, namespaced=kind not in CLUSTER_SCOPED)
        if resource == CONFIG_MAPS:
            yield Collection(resource, mesh_config.MESH_CONFIG_KEY.namespace, mesh_config.MESH_CONFIG_KEY.name)
        elif kind == "Namespace" and chosen:
            yield from (Collection(resource, name=namespace) for namespace in chosen)
        elif resource.namespaced or not chosen:
            yield from collections_of(resource, chosen)


def collections_of(resource: ApiResource, namespaces: Iterable[str]) -> Iterator[Collection]:
    """Yield the collections of ``resource``, everywhere or in each of ``namespaces``."""
    chosen = tuple(namespaces)
    yield from (Collection(resource, namespace) for namespace in chosen) if chosen else (Collection(resource),)


def definition_of(crd: Json) -> Definition | None:
    """Return what the CustomResourceDefinition ``crd`` defines, ``None`` for a kind that is not ours."""
    spec = section(crd, "spec")
    group, kind = text(spec, "group"), text(section(spec, "names"), "kind")
    ours = _custom_kinds().get((group, kind))
    if ours is None:
        return None
    served = {text(version, "name") for version in items(spec, "versions") if version.get("served") is True}
    version = next((name for name in ours if name in served), None)
    going = "deletionTimestamp" in section(crd, "metadata") or not _established(crd)
    if version is None or going:
        return Definition(group, kind, None)
    return Definition(group, kind, ApiResource(group, version, text(section(spec, "names"), "plural"), kind))


def plural(kind: str) -> str:
    """Return the name of the collection of objects of ``kind``, by the rule of English that Kubernetes follows."""
    name = kind.lower()
    if name.endswith("s"):
        return name + "es"
    return name[:-1] + "ies" if name.endswith("y") and name[-2] not in "aeiou" else name + "s"


def _custom_kinds() -> Mapping[tuple[str, str], tuple[str, ...]]:
    return {(group, kind): versions for group, kind, versions in readable_kinds() if group not in _OWN}


def _established(crd: Json) -> bool:
    conditions = {text(condition, "type"): text(condition, "status") for condition in items(section(crd, "status"), "conditions")}
    return conditions.get("Established") == "True" and conditions.get("Terminating") != "True"
