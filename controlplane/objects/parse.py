"""One document to one typed, frozen object, or to Problems that say which field is wrong and what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from controlplane.model.keys import SECURITY, GroupKind, Key
from controlplane.model.problems import LAST_GOOD, NOT_IN_EFFECT, Problem, Severity
from controlplane.objects.kinds import KINDS, Kind, Object
from controlplane.objects.kubernetes.secrets import ConfigMap, Secret
from controlplane.objects.mesh import mesh_config
from controlplane.objects.mesh.mesh_config import MeshConfig, MeshConfigSpec, PartialMeshConfig
from controlplane.objects.reading.sanitize import InvalidJson, sanitized
from controlplane.objects.reading.yaml import UnreadableError, compose
from controlplane.objects.security.closed import ClosedForm, closed_form
from controlplane.objects.security.rate_limit import ClosedRateLimit
from controlplane.objects.types import names
from controlplane.objects.types.findings import Finding, ineffective_fields
from controlplane.objects.types.metadata_rules import ineffective_metadata
from controlplane.objects.types.readable_part import findings_of_the_rest
from controlplane.objects.types.rules import labels
from controlplane.objects.types.validation_errors import findings
from controlplane.objects.unknown_kinds import group_and_version, unknown_version
from controlplane.untyped import section

__all__ = ["Object", "ParsedObject", "parse", "readable_kinds"]

_MAX_PATH = 400
_MAX_PROBLEMS = 100  # of one object


@dataclass(frozen=True, slots=True)
class ParsedObject:
    """What became of a document: its key, the object unless it is quarantined or ignored, and what is wrong with it."""

    key: Key | None
    object: Object | None = None
    problems: tuple[Problem, ...] = ()
    partial: PartialMeshConfig | None = None  # what is left of quarantined settings of the mesh
    closed: ClosedForm | None = None  # what stands for a quarantined object of security
    identified: bool = True  # whether it can be read which object it is, or that it is none

    @property
    def with_consequence(self) -> tuple[Problem, ...]:
        """Return what is wrong with the document, and what becomes of the object by that."""
        if self.key is None or self.closed is None:
            return self.problems
        return (*self.problems, _problem(self.key, self.closed.consequence))

    def usable(self, before: Object | None) -> Object | None:
        """Return what is to be used where ``before`` was until now.

        Of a quarantined object that is ``before``; of one of security its closed form; of a mesh's settings it is decided field by field.
        """
        if self.partial is not None:
            return self.partial.completed(before if isinstance(before, MeshConfig) else None)
        if self.closed is not None:
            return self.closed.object
        return self._last_good(before) if self.object is None else self.object

    @staticmethod
    def _last_good(before: Object | None) -> Object | None:
        """Return ``before`` where it is what somebody has written, and does not only stand for what could not be used."""
        return None if isinstance(before, ClosedRateLimit) else before

    def fate(self, before: Object | None) -> Problem | None:
        """Return what becomes of an object that cannot be used, where ``before`` was in use until now.

        Not of one about security (`with_consequence` tells that), nor of the settings of the mesh, of which single fields are refused.
        """
        if self.object is not None or self.partial is not None or self.key is None or self.key.group in ("", SECURITY) or self.closed:
            return None
        if all(problem.severity is not Severity.ERROR for problem in self.problems):
            return None
        if self._last_good(before) is None:
            message = "it was not good since this control plane was started: nothing of it is in effect"
            return Problem(self.key, "", Severity.WARNING, NOT_IN_EFFECT, message)
        message = "the last version that was good stays in effect while this control plane runs; after a restart nothing of it is"
        return Problem(self.key, "", Severity.WARNING, LAST_GOOD, message)


def readable_kinds() -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Return the group, kind and versions of what is read, ConfigMap (the mesh's settings) and Secret among them."""
    return tuple((*group_kind, readable.versions) for group_kind, readable in KINDS.items())


def parse(data: Mapping[str, object]) -> ParsedObject:
    """Return the object that the document ``data`` holds, or what is wrong; never raises, whatever JSON it holds."""
    group, version = group_and_version(_text(data.get("apiVersion")))
    kind = _text(data.get("kind"))
    if not kind or not (group or version):
        message = "expected a Kubernetes object with apiVersion and kind"
        is_none = data.keys().isdisjoint(("apiVersion", "kind"))
        return ParsedObject(None, problems=(Problem(None, "", Severity.ERROR, "NotAnObject", message),), identified=is_none)
    metadata = section(data, "metadata")
    namespace = names.object_namespace(kind, _text(metadata.get("namespace")))
    written = Key(kind, namespace, _text(metadata.get("name")), group)
    key = Key(_printable(written.kind), _printable(written.namespace), _printable(written.name), _printable(group))
    group_kind = GroupKind(group, kind)
    unknown = unknown_version(group_kind, version)
    if unknown is not None:
        problem = Problem(key, unknown.field, unknown.severity, unknown.code, _printable(unknown.message, 2 * _MAX_PATH))
        return ParsedObject(key, problems=(problem,), identified=False) if unknown.may_be_security else _quarantined(key, data, (problem,))
    try:
        document = sanitized(data)
    except InvalidJson as error:
        return _quarantined(key, data, _problems(key, [Finding(error.path, "Unreadable", str(error))]))
    if key == mesh_config.MESH_CONFIG_KEY:
        return _mesh_config(key, document)
    metadata = _with_namespace(document.get("metadata"), namespace)
    return _typed(key, {**document, "metadata": metadata}, KINDS[group_kind], list(names.check_name(written)))


def _with_namespace(metadata: object, namespace: str) -> dict[str, object]:
    """Return ``metadata`` with the ``namespace`` that is meant, unless what it says itself is of a wrong type."""
    written = metadata if isinstance(metadata, dict) else {}
    return {**written, "namespace": namespace} if isinstance(written.get("namespace", ""), str) else written


def _typed(key: Key, data: Mapping[str, object], kind: Kind, issues: list[Finding]) -> ParsedObject:
    """Return the object of ``kind`` that ``data`` says, and what is wrong with it; ``issues`` is what is wrong with its name."""
    item: Object | None = None
    shows = key.kind not in ("Secret", "ConfigMap")
    try:
        item = kind.read(data)
    except ValidationError as error:
        issues += findings(error, shows=shows)
        issues += findings_of_the_rest(data, error, kind.read, kind.check) if shows else ()
    if isinstance(item, Secret | ConfigMap) and not issues:
        return ParsedObject(key, item, () if item.entries else (_ignored(key),))
    if item is not None:
        issues += labels("metadata.labels", item.meta.labels)
        issues += ineffective_metadata(item)
        issues += kind.check(item)
    spec = data.get("spec")
    if kind.spec is not None and isinstance(spec, dict):
        issues += ineffective_fields(kind.spec, spec, "spec")
    if any(finding.fatal for finding in issues):
        return _quarantined(key, data, _problems(key, issues))
    return ParsedObject(key, item, _problems(key, issues))


def _quarantined(key: Key, data: Mapping[str, object], problems: tuple[Problem, ...]) -> ParsedObject:
    """Return that ``data`` cannot be used for its ``problems``: of an object of security what stands for it.

    Where its name or namespace cannot be read, nor can it be what that would stand for.
    """
    closed = closed_form(key, data)
    if closed is None:
        return ParsedObject(key, problems=problems)
    metadata = data.get("metadata")
    if isinstance(metadata, dict) and isinstance(metadata.get("namespace"), str | None) and _text(metadata.get("name")):
        return ParsedObject(key, problems=problems, closed=closed)
    return ParsedObject(key, problems=problems, identified=False)


def _mesh_config(key: Key, data: Mapping[str, object]) -> ParsedObject:
    content = data.get("data")
    text = content.get(mesh_config.ENTRY) if isinstance(content, dict) else None
    path = f"data.{mesh_config.ENTRY}"
    try:
        composed = compose(text) if isinstance(text, str) else None
        spec = composed.value if composed and composed.value is not None else {}
        spec = sanitized(spec) if isinstance(spec, dict) else None
    except (UnreadableError, InvalidJson) as error:
        position = f"line {error.line + 1} of it: " if isinstance(error, UnreadableError) else ""
        return ParsedObject(key, problems=_problems(key, [Finding(path, "Unreadable", f"{position}{error}")]))
    if spec is None or (text is not None and not isinstance(text, str)):
        return ParsedObject(key, problems=_problems(key, [Finding(path, "WrongType", "expected the fields of MeshConfig, as YAML")]))
    issues = [
        Finding(ineffective.path, "NotTranslated", "this setting is not translated: it has no effect", fatal=False)
        for ineffective in ineffective_fields(MeshConfigSpec, spec, path)
    ]
    annotations = section(section(data, "metadata"), "annotations")
    texts = {name: text for name, text in annotations.items() if isinstance(text, str)}
    metadata = {"name": key.name, "namespace": key.namespace, "annotations": texts}
    settings, found = mesh_config.read(metadata, spec, path)
    problems = _problems(key, [*issues, *found])
    return ParsedObject(key, problems=problems, partial=settings) if settings.refused else ParsedObject(key, settings.config, problems)


def _ignored(key: Key) -> Problem:
    return Problem(key, "kind", Severity.INFO, "KindIgnored", f"this {key.kind[:80]} says nothing to a mesh: it is passed over")


def _problems(key: Key, findings_of_object: Iterable[Finding]) -> tuple[Problem, ...]:
    distinct = sorted(dict.fromkeys(findings_of_object), key=lambda finding: not finding.fatal)
    problems = tuple(_problem(key, finding) for finding in distinct[:_MAX_PROBLEMS])
    if len(distinct) <= _MAX_PROBLEMS:
        return problems
    return (*problems, Problem(key, "", Severity.WARNING, "More", f"{len(distinct) - _MAX_PROBLEMS} more Problems are not shown"))


def _problem(key: Key, finding: Finding) -> Problem:
    severity = Severity.ERROR if finding.fatal else Severity.WARNING
    return Problem(key, _printable(finding.path, _MAX_PATH), severity, finding.code, _printable(finding.message, 2 * _MAX_PATH))


def _printable(text: str, length: int = names.MAX_NAME) -> str:
    """Return ``text`` fit for a terminal: of at most ``length`` characters, none of them a control character."""
    text = text[: length + 1]
    return text if text.isprintable() and len(text) <= length else repr(text[:length])[1:-1]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
