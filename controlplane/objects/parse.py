"""One document to one typed, frozen object, or to Problems that say which field is wrong and what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from controlplane.model.keys import SECURITY, Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.kinds import KINDS, UNSUPPORTED_KIND_GROUPS, Kind, Object, check_object
from controlplane.objects.kubernetes.secrets import ConfigMap, Secret
from controlplane.objects.mesh import mesh_config
from controlplane.objects.mesh.mesh_config import MeshConfig, MeshConfigSpec
from controlplane.objects.reading.sanitize import InvalidJson, sanitized
from controlplane.objects.reading.yaml import UnreadableError, compose
from controlplane.objects.types import names
from controlplane.objects.types.findings import Finding, ineffective_fields
from controlplane.objects.types.rules import labels
from controlplane.objects.types.validation_errors import findings, for_message

__all__ = ["Object", "ParsedObject", "parse", "readable_kinds"]

_MAX_PATH = 400
_MAX_PROBLEMS = 100  # of one object


@dataclass(frozen=True, slots=True)
class ParsedObject:
    """What a document says: whose it is, the object unless it is quarantined or of no use to us, and what is wrong with it."""

    key: Key | None
    object: Object | None = None
    problems: tuple[Problem, ...] = ()


def readable_kinds() -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Return the group, kind and versions of what is read, ConfigMap (the mesh's settings) and Secret among them."""
    return tuple((group, kind, each.versions) for (group, kind), each in KINDS.items())


def parse(data: Mapping[str, object]) -> ParsedObject:
    """Return what the document ``data`` says; never raises, whatever JSON it holds."""
    group, _, version = _text(data.get("apiVersion")).rpartition("/")
    kind = _text(data.get("kind"))
    if not kind or not version:
        message = "expected a Kubernetes object with apiVersion and kind"
        return ParsedObject(None, problems=(Problem(None, "", Severity.ERROR, "NotAnObject", message),))
    metadata = data.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    namespace = names.object_namespace(kind, _text(metadata.get("namespace")))
    said = Key(kind, namespace, _text(metadata.get("name")), group)
    key = Key(_plain(said.kind), _plain(said.namespace), _plain(said.name), _plain(group))
    known = KINDS.get((group, kind))
    is_config = (group, version, key) == ("", "v1", mesh_config.MESH_CONFIG_KEY)
    if not is_config and (known is None or version not in known.versions):
        return ParsedObject(key, problems=(_unknown(key, group, version, known),))
    try:
        clean = sanitized(data)
    except InvalidJson as odd:
        return ParsedObject(key, problems=_problems(key, [Finding(odd.path, "Unreadable", str(odd))]))
    if known is None or is_config:
        return _mesh_config(key, clean)
    return _typed(key, {**clean, "metadata": _placed(clean.get("metadata"), namespace)}, known, group, list(names.check_name(said)))


def _placed(metadata: object, namespace: str) -> dict[str, object]:
    """Return ``metadata`` with the ``namespace`` that is meant, unless what it says itself is of a wrong type."""
    said = metadata if isinstance(metadata, dict) else {}
    return {**said, "namespace": namespace} if isinstance(said.get("namespace", ""), str) else said


def _typed(key: Key, data: Mapping[str, object], known: Kind, group: str, found: list[Finding]) -> ParsedObject:
    value: Object | None = None
    try:
        value = known.model.model_validate(data)
    except ValidationError as error:
        found += findings(error, shows=known.model not in (Secret, ConfigMap))
    if isinstance(value, Secret | ConfigMap) and not found:
        return ParsedObject(key, value, () if value.entries else (_ignored(key),))
    if value is not None:
        found += labels("metadata.labels", value.meta.labels)
        found += check_object(value)
    spec = data.get("spec")
    if known.spec is not None and isinstance(spec, dict):
        found += ineffective_fields(known.spec, spec, "spec")
    fatal = any(each.fatal for each in found)
    if known.unsupported and not fatal:
        found.insert(0, _later(key, group))
    return ParsedObject(key, None if fatal else value, _problems(key, found))


def _mesh_config(key: Key, data: Mapping[str, object]) -> ParsedObject:
    content = data.get("data")
    text = content.get(mesh_config.ENTRY) if isinstance(content, dict) else None
    path = f"data.{mesh_config.ENTRY}"
    try:
        composed = compose(text) if isinstance(text, str) else None
        spec = composed.value if composed and composed.value is not None else {}
        spec = sanitized(spec) if isinstance(spec, dict) else None
    except (UnreadableError, InvalidJson) as error:
        where = f"line {error.line + 1} of it: " if isinstance(error, UnreadableError) else ""
        return ParsedObject(key, problems=_problems(key, [Finding(path, "Unreadable", f"{where}{error}")]))
    if spec is None or (text is not None and not isinstance(text, str)):
        return ParsedObject(key, problems=_problems(key, [Finding(path, "WrongType", "expected the fields of MeshConfig, as YAML")]))
    found = [
        Finding(each.path, "NotTranslated", "this setting is not translated: it has no effect", fatal=False)
        for each in ineffective_fields(MeshConfigSpec, spec, path)
    ]
    try:
        value = MeshConfig.model_validate({"kind": key.kind, "metadata": {"name": key.name, "namespace": key.namespace}, "spec": spec})
    except ValidationError as error:
        found += (Finding(each.path.replace("spec", path, 1), each.code, each.message) for each in findings(error))
        return ParsedObject(key, problems=_problems(key, found))
    found += mesh_config.check(value, path)
    return ParsedObject(key, None if any(each.fatal for each in found) else value, _problems(key, found))


def _unknown(key: Key, group: str, version: str, known: Kind | None) -> Problem:
    if known is not None:
        message = f"expected one of {', '.join(known.versions)} of {group or 'core'}, found {for_message(version)}"
        return Problem(key, "apiVersion", Severity.ERROR, "UnknownVersion", message)
    if group in UNSUPPORTED_KIND_GROUPS:
        return _problem(key, _later(key, group))
    return _ignored(key)


def _later(key: Key, group: str) -> Finding:
    enforced = ": NO POLICY of it is enforced" if group == SECURITY else "; it has no effect"
    return Finding("kind", "KindNotTranslated", f"{key.kind[:80]} is not translated yet{enforced}", fatal=False)


def _ignored(key: Key) -> Problem:
    return Problem(key, "kind", Severity.INFO, "KindIgnored", f"this {key.kind[:80]} says nothing to a mesh: it is passed over")


def _problems(key: Key, found: Iterable[Finding]) -> tuple[Problem, ...]:
    distinct = sorted(dict.fromkeys(found), key=lambda each: not each.fatal)
    problems = tuple(_problem(key, each) for each in distinct[:_MAX_PROBLEMS])
    if len(distinct) <= _MAX_PROBLEMS:
        return problems
    return (*problems, Problem(key, "", Severity.WARNING, "More", f"{len(distinct) - _MAX_PROBLEMS} more Problems are not shown"))


def _problem(key: Key, each: Finding) -> Problem:
    severity = Severity.ERROR if each.fatal else Severity.WARNING
    return Problem(key, _plain(each.path, _MAX_PATH), severity, each.code, _plain(each.message, 2 * _MAX_PATH))


def _plain(text: str, length: int = names.MAX_NAME) -> str:
    """Return ``text`` fit for a terminal: of at most ``length`` characters, none of them a control character."""
    text = text[: length + 1]
    return text if text.isprintable() and len(text) <= length else repr(text[:length])[1:-1]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
