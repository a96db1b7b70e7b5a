"""Which replica may lead. Pure.

Each says in its Leases of which version it is and what its options come to. The newest version leads; among those, replicas with the
options of whoever led last, as long as one of them lives: another one sees other objects, or does other things with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controlplane.untyped import Json, section, text

VERSION_ANNOTATION = "navarch.io/version"
OPTIONS_ANNOTATION = "navarch.io/options"


@dataclass(frozen=True, slots=True)
class ReplicaInfo:
    """A replica: its name, its version, and a digest of the options by which it decides what is published and written."""

    pod: str
    version: str = ""
    options: str = ""

    @property
    def annotations(self) -> Mapping[str, str]:
        """Return what its Leases say of it."""
        return {VERSION_ANNOTATION: self.version, OPTIONS_ANNOTATION: self.options}


def replica_info(pod: str, lease: Json) -> ReplicaInfo:
    """Return what ``lease`` says of the replica ``pod``; nothing where it is older than these annotations."""
    annotations = section(section(lease, "metadata"), "annotations")
    return ReplicaInfo(pod, text(annotations, VERSION_ANNOTATION), text(annotations, OPTIONS_ANNOTATION))


def why_not_leader(own: ReplicaInfo, others: Iterable[ReplicaInfo], last: ReplicaInfo) -> str | None:
    """Return why ``own`` must not lead while ``others`` live and ``last`` was the leader before, ``None`` if it may."""
    alive = [own, *others]
    newest = max(map(_version_numbers, (each.version for each in alive)))
    if _version_numbers(own.version) < newest:
        newer = next(each for each in alive if _version_numbers(each.version) == newest)
        return f"the replica {newer.pod} is of version {newer.version}, this is {own.version or 'of none'}"
    alike = [each for each in alive if _version_numbers(each.version) == newest and each.options == last.options]
    if alike and own.options != last.options:
        return f"the replica {alike[0].pod} has the options of the leader, this has others"
    return None


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
