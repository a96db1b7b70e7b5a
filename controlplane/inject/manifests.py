"""Manifests in, the same with proxies in their pods out: the documents that hold no pod stay as they are written. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from controlplane.inject.annotations import INJECT
from controlplane.inject.inject import Injected, InjectionContext, InjectionOutcome, InjectionRefused, NotInjected, inject
from controlplane.inject.policy import INJECTION_LABEL, PodNamespace
from controlplane.model.keys import PROXY_CONFIG_KIND
from controlplane.model.mesh import MeshSettings
from controlplane.model.problems import Severity
from controlplane.objects.kinds import Object
from controlplane.objects.mesh.mesh_config import MESH_CONFIG_KEY, MeshConfig
from controlplane.objects.networking.proxy_config import ProxyConfig
from controlplane.objects.networking.proxy_configs import ProxyConfigs, selected_settings
from controlplane.objects.parse import parse
from controlplane.objects.reading.documents import Document, document_parts, documents_of_part
from controlplane.objects.reading.dump_yaml import yaml_text
from controlplane.objects.reading.yaml import compose
from controlplane.objects.types.metadata_rules import POD_ANNOTATIONS
from controlplane.untyped import Json, section, text

_TEMPLATE, _JOB_TEMPLATE = ("spec", "template"), ("spec", "jobTemplate", "spec", "template")
# Where a kind has its pods, by group, in whatever version; a Pod is one itself.
_TEMPLATES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "Pod"): (),
    ("", "PodTemplate"): ("template",),
    ("", "ReplicationController"): _TEMPLATE,
    ("", "DeploymentConfig"): _TEMPLATE,
    ("apps.openshift.io", "DeploymentConfig"): _TEMPLATE,
    **{(group, kind): _TEMPLATE for group in ("apps", "extensions") for kind in ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")},
    ("batch", "CronJob"): _JOB_TEMPLATE,
    ("batch", "Job"): _TEMPLATE,
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
    labels: Mapping[str, str] | None = None  # None: they want proxies, as the caller does

    def resolve(self, labels_by_namespace: Mapping[str, Mapping[str, str]], name: str) -> PodNamespace:
        """Return the namespace ``name``, which may be among those ``labels_by_namespace``."""
        defaults = {INJECTION_LABEL: "enabled"} if self.labels is None else self.labels
        return PodNamespace(name, labels_by_namespace.get(name, defaults))


class _ManifestInjection:
    """One pass over all documents."""

    def __init__(
        self, files: Sequence[ManifestFile], beside: Sequence[ManifestFile], context: InjectionContext, defaults: NamespaceDefaults
    ) -> None:
        self.notes: list[str] = []
        self.problems: list[str] = []
        self._defaults = defaults
        self._parts = [(file.name, *part) for file in files for part in document_parts(file.text)]
        all_parts = (part for file in (*files, *beside) for part in document_parts(file.text))
        documents = [document for body, offset in all_parts for document in documents_of_part(body, offset)]
        self._namespaces = {name: labels for name, labels in map(_namespace, documents) if name}
        for file in beside:
            self._settings_in(file)
        self._context = replace(context, configs=self._configs(documents, context.configs))

    def _settings_in(self, file: ManifestFile) -> None:
        """Note as a problem where ``file`` has not the mesh's settings that it was named for."""
        documents = [document for body, offset in document_parts(file.text) for document in documents_of_part(body, offset)]
        self.problems += [f"{file.name}:{document.problem_line}: {document.problem.message}" for document in documents if document.problem]
        if not any(_is_mesh_config(document) for document in documents):
            self.problems.append(f"{file.name}: expected the ConfigMap {MESH_CONFIG_KEY.name} of {MESH_CONFIG_KEY.namespace}")

    def _configs(self, documents: Sequence[Document], before: ProxyConfigs) -> ProxyConfigs:
        """Return the settings of proxies by the mesh's ConfigMap and the ProxyConfigs among ``documents``, else those of ``before``."""
        mesh = next((self._parsed(document) for document in documents if _is_mesh_config(document)), None)
        found = [self._parsed(document) for document in documents if text(document.data or {}, "kind") == PROXY_CONFIG_KIND.kind]
        selected = selected_settings(config for config in found if isinstance(config, ProxyConfig)) or before.selected
        if not isinstance(mesh, MeshConfig):
            return replace(before, root_namespace=before.root_namespace or MeshSettings().root_namespace, selected=selected)
        return ProxyConfigs(mesh.spec.default_config, mesh.spec.root_namespace, selected)

    def _parsed(self, document: Document) -> Object | None:
        """Return the object that ``document`` is, and note as problems what is wrong with it."""
        data = dict(document.data or {})
        metadata = section(data, "metadata")
        namespace = text(metadata, "namespace") or self._defaults.namespace
        parsed = parse({**data, "metadata": {**metadata, "namespace": namespace}})
        wrong = (problem for problem in parsed.problems if problem.severity is Severity.ERROR)
        subject = f"{text(data, 'kind')} {namespace}/{text(metadata, 'name')}"
        self.problems += [f"{subject}: {problem.field}: {problem.message}" for problem in wrong]
        return parsed.object

    def texts(self) -> Iterator[str]:
        for name, body, offset in self._parts:
            documents = tuple(documents_of_part(body, offset))
            injected = [self._document(name, document) for document in documents]
            if all(new is None for new in injected):
                yield body
            elif documents[0].prefix:  # the items of a List
                items = [new if new is not None else document.data for new, document in zip(injected, documents, strict=True)]
                composed = compose(body)
                yield yaml_text({**(composed.value if composed and isinstance(composed.value, dict) else {}), "items": items})
            else:
                yield yaml_text(injected[0])

    def _document(self, file: str, document: Document) -> Json | None:
        """Return what becomes of ``document``, None where it stays as it is."""
        if document.problem is not None:
            self.problems.append(f"{file}:{document.problem_line}: {document.problem.message}")
            return None
        data = dict(document.data or {})
        path = _TEMPLATES.get((text(data, "apiVersion").rpartition("/")[0], text(data, "kind")))
        metadata = section(data, "metadata")
        if path is None:
            self.notes += _unknown_workload(data)
            return None
        namespace = text(metadata, "namespace") or self._defaults.namespace
        template = _template(data, path)
        outcome: InjectionOutcome = InjectionRefused((f"{'.'.join(path)}: expected an object",))
        if template is not None:
            workload = text(metadata, "name") if path else ""
            outcome = inject(template, self._defaults.resolve(self._namespaces, namespace), self._context, workload)
        subject = f"{text(data, 'kind')} {namespace}/{text(metadata, 'name') or text(metadata, 'generateName') or '?'}"
        match outcome:
            case NotInjected(why):
                self.notes.append(f"{subject}: no proxy: {why}")
                return None
            case InjectionRefused(problems):
                where = f"{file}:{document.line}: {subject}: {'.'.join(path)}{'.' if path else ''}"
                self.problems += [f"{where}{problem}" for problem in problems]
                return None
            case Injected(pod, _, warnings):
                misplaced = _beside_template(metadata, text(data, "kind")) if path else ()
                self.notes += [f"{subject}: a proxy is put in", *(f"{subject}: {warning}" for warning in (*warnings, *misplaced))]
                return _placed(data, path, pod)


def inject_manifests(
    files: Sequence[ManifestFile], context: InjectionContext, defaults: NamespaceDefaults, *, beside: Sequence[ManifestFile] = ()
) -> InjectedManifests:
    """Return the documents of ``files`` with proxies by ``context``.

    What they, or those that stand ``beside`` them, say of namespaces and of the mesh's settings counts.
    """
    work = _ManifestInjection(files, beside, context, defaults)
    bodies = [body if body.startswith("---") else f"---\n{body}" for body in work.texts()]
    return InjectedManifests(
        "".join(body if body.endswith("\n") else f"{body}\n" for body in bodies), tuple(work.notes), tuple(work.problems)
    )


def _unknown_workload(data: Json) -> Iterator[str]:
    """Yield that ``data``, of a kind that is not known here, has pods of its own: these get no proxy by it."""
    for path in (_TEMPLATE, _JOB_TEMPLATE, ("template",)):
        template = _template(data, path)
        if template is not None and isinstance(section(template, "spec").get("containers"), list):
            subject = f"{text(data, 'kind')} {text(section(data, 'metadata'), 'name')}"
            yield f"{subject}: no proxy: it has pods at {'.'.join(path)}, but its kind is not known; the webhook gives such pods theirs"
            return


def _beside_template(metadata: Json, kind: str) -> Iterator[str]:
    """Yield what the ``metadata`` of a workload say of injection: it is for those of its pods."""
    for what, names in (("label", (INJECT.name,)), ("annotation", POD_ANNOTATIONS)):
        for name in sorted(section(metadata, f"{what}s").keys() & set(names)):
            yield f"{what} {name} of the {kind} itself has no effect: it belongs into the metadata of its template"


def _namespace(document: Document) -> tuple[str, Mapping[str, str]]:
    data = document.data or {}
    if text(data, "kind") != "Namespace":
        return "", {}
    metadata = section(data, "metadata")
    return text(metadata, "name"), {name: label for name, label in section(metadata, "labels").items() if isinstance(label, str)}


def _is_mesh_config(document: Document) -> bool:
    metadata = section(document.data or {}, "metadata")
    return (text(document.data or {}, "kind"), text(metadata, "namespace"), text(metadata, "name")) == (
        MESH_CONFIG_KEY.kind,
        MESH_CONFIG_KEY.namespace,
        MESH_CONFIG_KEY.name,
    )


def _template(data: Json, path: Sequence[str]) -> Json | None:
    node: object = data
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None


def _placed(data: Json, path: Sequence[str], pod: Json) -> Json:
    """Return ``data`` with ``pod`` at ``path``."""
    if not path:
        return pod
    first, *rest = path
    return {**data, first: _placed(section(data, first), rest, pod)}
