"""Names of things users write: which object, and which field of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One object of the user: kind, namespace (empty for cluster-scoped kinds) and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return ``Kind/namespace/name``, as ``navarch validate`` prints it."""
        return f"{self.kind}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Origin:
    """The field of an object that made a value: ``path`` reads like ``spec.http[0].route[1]``."""

    key: Key
    path: str = ""
