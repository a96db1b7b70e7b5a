"""Manifests in, the same with proxies in their pods out: the documents that hold no pod stay as they are written. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from controlplane.inject.inject import Injected, InjectionContext, InjectionOutcome, InjectionRefused, NotInjected, inject
from controlplane.inject.policy import INJECTION_LABEL, PodNamespace
from controlplane.kube.json import Json, section, text
from controlplane.model.problems import Severity
from controlplane.objects.mesh.mesh_config import MESH_CONFIG_KEY, MeshConfig
from controlplane.objects.networking.proxy_config import ProxySettings
from controlplane.objects.parse import parse
from controlplane.objects.reading.documents import Document, document_parts, documents_of_part
from controlplane.objects.reading.dump_yaml import yaml_text
from controlplane.objects.reading.yaml import compose

# Where a kind has its pods; a Pod is one itself.
_TEMPLATES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("v1", "Pod"): (),
    ("v1", "PodTemplate"): ("template",),
    ("v1", "ReplicationController"): ("spec", "template"),
    ("apps/v1", "DaemonSet"): ("spec", "template"),
    ("apps/v1", "Deployment"): ("spec", "template"),
    ("apps/v1", "ReplicaSet"): ("spec", "template"),
    ("apps/v1", "StatefulSet"): ("spec", "template"),
    ("batch/v1", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
    ("batch/v1", "Job"): ("spec", "template"),
}


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A file: its name, and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class InjectedManifests:
    """What became of manifests: their text, what is to be said of each, and what stands in the way of using it."""

    text: str
    notes: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceDefaults:
    """What manifests leave open: the namespace of objects that name none, and the labels of namespaces that are not among them."""

    namespace: str = "default"
    labels: Mapping[str, str] | None = None  # None: they want proxies, as whoever asks does

    def of(self, found: Mapping[str, Mapping[str, str]], name: str) -> PodNamespace:
        """Return the namespace ``name``, which may be among those ``found``."""
        asked = {INJECTION_LABEL: "enabled"} if self.labels is None else self.labels
        return PodNamespace(name, found.get(name, asked))


class _ManifestInjection:
    """One pass over all documents."""

    def __init__(
        self, sheets: Sequence[ManifestFile], beside: Sequence[ManifestFile], mesh: InjectionContext, where: NamespaceDefaults
    ) -> None:
        self.notes: list[str] = []
        self.problems: list[str] = []
        self._where = where
        self._parts = [(sheet.name, *part) for sheet in sheets for part in document_parts(sheet.text)]
        known = (part for sheet in (*sheets, *beside) for part in document_parts(sheet.text))
        documents = [each for body, offset in known for each in documents_of_part(body, offset)]
        self._namespaces = {name: labels for name, labels in map(_namespace, documents) if name}
        for sheet in beside:
            self._settings_in(sheet)
        self._mesh = replace(mesh, defaults=self._settings(documents) or mesh.defaults)

    def _settings_in(self, sheet: ManifestFile) -> None:
        """See to it that ``sheet`` has what it was given for."""
        documents = [each for body, offset in document_parts(sheet.text) for each in documents_of_part(body, offset)]
        self.problems += [f"{sheet.name}:{each.problem_line}: {each.problem.message}" for each in documents if each.problem]
        if not any(_is_mesh_config(each) for each in documents):
            self.problems.append(f"{sheet.name}: expected the ConfigMap {MESH_CONFIG_KEY.name} of {MESH_CONFIG_KEY.namespace}")

    def _settings(self, documents: Sequence[Document]) -> ProxySettings | None:
        """Return the settings of proxies that the first ConfigMap of the mesh among ``documents`` has."""
        found = next((parse(each.data or {}) for each in documents if _is_mesh_config(each)), None)
        if found is None:
            return None
        wrong = (each for each in found.problems if each.severity is Severity.ERROR)
        self.problems += [f"ConfigMap {MESH_CONFIG_KEY.namespace}/{MESH_CONFIG_KEY.name}: {each.field}: {each.message}" for each in wrong]
        return found.object.spec.default_config if isinstance(found.object, MeshConfig) else None

    def texts(self) -> Iterator[str]:
        for name, body, offset in self._parts:
            documents = tuple(documents_of_part(body, offset))
            made = [self._document(name, each) for each in documents]
            if all(new is None for new in made):
                yield body
            elif documents[0].prefix:  # the items of a List
                items = [new if new is not None else each.data for new, each in zip(made, documents, strict=True)]
                whole = compose(body)
                yield yaml_text({**(whole.value if whole and isinstance(whole.value, dict) else {}), "items": items})
            else:
                yield yaml_text(made[0])

    def _document(self, file: str, document: Document) -> Json | None:
        """Return what becomes of ``document``, None where it stays as it is."""
        if document.problem is not None:
            self.problems.append(f"{file}:{document.problem_line}: {document.problem.message}")
            return None
        data = dict(document.data or {})
        path = _TEMPLATES.get((text(data, "apiVersion"), text(data, "kind")))
        if path is None:
            return None
        metadata = section(data, "metadata")
        namespace = text(metadata, "namespace") or self._where.namespace
        found = _template(data, path)
        outcome: InjectionOutcome = InjectionRefused((f"{'.'.join(path)}: expected an object",))
        if found is not None:
            outcome = inject(found, self._where.of(self._namespaces, namespace), self._mesh, text(metadata, "name") if path else "")
        who = f"{text(data, 'kind')} {namespace}/{text(metadata, 'name') or text(metadata, 'generateName') or '?'}"
        match outcome:
            case NotInjected(why):
                self.notes.append(f"{who}: no proxy: {why}")
                return None
            case InjectionRefused(problems):
                self.problems += [f"{file}:{document.line}: {who}: {'.'.join(path)}{'.' if path else ''}{each}" for each in problems]
                return None
            case Injected(pod, _, warnings):
                self.notes += [f"{who}: a proxy is put in", *(f"{who}: {each}" for each in warnings)]
                return _placed(data, path, pod)


def inject_manifests(
    sheets: Sequence[ManifestFile], mesh: InjectionContext, where: NamespaceDefaults, *, beside: Sequence[ManifestFile] = ()
) -> InjectedManifests:
    """Return the documents of ``sheets`` with proxies by ``mesh``.

    What they, or those that stand ``beside`` them, say of namespaces and of the mesh's settings counts.
    """
    work = _ManifestInjection(sheets, beside, mesh, where)
    bodies = [body if body.startswith("---") else f"---\n{body}" for body in work.texts()]
    return InjectedManifests(
        "".join(body if body.endswith("\n") else f"{body}\n" for body in bodies), tuple(work.notes), tuple(work.problems)
    )


def _namespace(document: Document) -> tuple[str, Mapping[str, str]]:
    data = document.data or {}
    if text(data, "kind") != "Namespace":
        return "", {}
    metadata = section(data, "metadata")
    return text(metadata, "name"), {name: each for name, each in section(metadata, "labels").items() if isinstance(each, str)}


def _is_mesh_config(document: Document) -> bool:
    metadata = section(document.data or {}, "metadata")
    return (text(document.data or {}, "kind"), text(metadata, "namespace"), text(metadata, "name")) == (
        MESH_CONFIG_KEY.kind,
        MESH_CONFIG_KEY.namespace,
        MESH_CONFIG_KEY.name,
    )


def _template(data: Json, path: Sequence[str]) -> Json | None:
    found: object = data
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _placed(data: Json, path: Sequence[str], pod: Json) -> Json:
    """Return ``data`` with ``pod`` at ``path``."""
    if not path:
        return pod
    first, *rest = path
    return {**data, first: _placed(section(data, first), rest, pod)}
