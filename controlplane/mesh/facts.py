"""The inputs of the mesh, a value each: an object, the keys of a token issuer, or whether a credential can be used.

None of them can hold a Secret: see ``objects.changes.split``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from controlplane.objects.changes import MeshChange
from controlplane.objects.security.jwks import KeySet


@dataclass(frozen=True, slots=True)
class IssuerKeys:
    """The keys that a token issuer publishes at ``address`` are ``keys`` now."""

    address: str
    keys: KeySet


@dataclass(frozen=True, slots=True)
class CredentialVerdict:
    """The credential ``name``, as SDS has it, cannot be used in the namespaces of ``reasons``, and can be in all others."""

    name: str
    reasons: tuple[tuple[str, str], ...]  # namespace and reason


Fact: TypeAlias = MeshChange | IssuerKeys | CredentialVerdict
