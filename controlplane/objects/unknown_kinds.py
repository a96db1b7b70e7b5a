"""Documents of a kind or version that is not read: whether that is a mistake, what was meant, and whether it may be about security."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import NamedTuple

from controlplane.model.keys import CONFIGURATION_GROUPS, GATEWAY_API, SECURITY, GroupKind
from controlplane.model.problems import Severity
from controlplane.objects.kinds import KINDS
from controlplane.objects.types.validation_errors import for_message

_MOST_COMPARED = 60  # characters
_SIMILAR = 0.85
_SHOWN = 80
_ISTIO = ".istio.io"


class UnknownKind(NamedTuple):
    """What is told of a document that is none of the kinds that are read."""

    field: str
    severity: Severity
    code: str
    message: str
    may_be_security: bool = False  # what it was to keep out, nobody knows


def group_and_version(api_version: str) -> tuple[str, str]:
    """Return the group and the version in ``api_version``; one that is a group alone has no version, and is not taken for the core's."""
    group, _, version = api_version.rpartition("/")
    return (version, "") if not group and "." in version else (group, version)


def unknown_version(written: GroupKind, version: str) -> UnknownKind | None:
    """Return what is told of a document of the kind ``written`` in ``version``, ``None`` where it can be read."""
    readable = KINDS.get(written)
    if readable is None:
        return _unknown_kind(written)
    if version in readable.versions:
        return None
    message = f"expected one of {', '.join(readable.versions)} of {written.group or 'core'}, found {for_message(version)}"
    return UnknownKind("apiVersion", Severity.ERROR, "UnknownVersion", message)


def _unknown_kind(written: GroupKind) -> UnknownKind:
    group, kind = written.group[:_SHOWN] or "core", written.kind[:_SHOWN]
    if meant := next(_meant(written), None):
        of_group = "" if meant.group == written.group else f" of {meant.group or 'core'}"
        message = f"{group} has no kind {kind}: {meant.kind}{of_group}?"
        return UnknownKind("kind", Severity.ERROR, "UnknownKind", message, SECURITY in {written.group, meant.group})
    if written.group == SECURITY:
        message = f"{kind} of {group} is no kind that is known here: NO POLICY of it is enforced, whatever it was to keep out"
        return UnknownKind("kind", Severity.ERROR, "UnknownKind", message, may_be_security=True)
    if written.group in CONFIGURATION_GROUPS or written.group.endswith(_ISTIO):
        message = f"{kind} is not translated yet; it has no effect"
        return UnknownKind("kind", Severity.WARNING, "KindNotTranslated", message)
    return UnknownKind("kind", Severity.INFO, "KindIgnored", f"this {kind} says nothing to a mesh: it is passed over")


def _meant(written: GroupKind) -> Iterator[GroupKind]:
    """Yield the kinds that ``written``, which is none, may be a misspelling of, the likeliest first."""
    group, name = written.group[:_MOST_COMPARED].lower(), written.kind[:_MOST_COMPARED].lower()
    if group == GATEWAY_API:
        return  # it has kinds of its own, none of them read
    groups = {known.group for known in KINDS}
    similar_group = group if group in groups else next(iter(get_close_matches(group, sorted(groups - {""}), 1, _SIMILAR)), None)
    if similar_group is not None:
        yield from _named(similar_group, name, closely=similar_group != "")
    if group == "" or group in CONFIGURATION_GROUPS or group.endswith(_ISTIO):
        for other in sorted(groups - {similar_group}):
            yield from _named(other, name, closely=False)


def _named(group: str, name: str, *, closely: bool) -> Iterator[GroupKind]:
    """Yield the kinds of ``group`` that are called ``name`` but for their case; ``closely``: that are called nearly so, too."""
    kinds = {known.kind.lower(): known for known in KINDS if known.group == group}
    if name in kinds:
        yield kinds[name]
    elif closely and (close := get_close_matches(name, [*kinds, *(f"{kind}s" for kind in kinds)], 1, _SIMILAR)):
        yield kinds.get(close[0]) or kinds[close[0].removesuffix("s")]
