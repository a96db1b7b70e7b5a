"""The inputs of the mesh, a value each: an object, the keys of a token issuer, a module, or whether a credential can be used.

None of them can hold a Secret: see ``objects.changes.split``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from controlplane.objects.changes import MeshChange
from controlplane.objects.extensions.modules import Module, ModuleSource
from controlplane.objects.security.jwks import KeySet


@dataclass(frozen=True, slots=True)
class IssuerKeys:
    """The keys that a token issuer publishes at ``address`` are ``keys`` now."""

    address: str
    keys: KeySet


@dataclass(frozen=True, slots=True)
class FetchedModule:
    """The module at ``source``, ``None`` as long as there is none, and why fetching it failed last, if it has."""

    source: ModuleSource
    module: Module | None
    failure: str = ""


class CredentialFault(NamedTuple):
    """Why a credential cannot be used by the proxies of a namespace; or, where it is ``given`` all the same, what of it cannot be."""

    namespace: str
    reason: str
    given: bool = False


@dataclass(frozen=True, slots=True)
class CredentialVerdict:
    """The credential ``name``, as SDS has it, has these ``faults``, one a namespace at most, and can be used in all others."""

    name: str
    faults: tuple[CredentialFault, ...]


Fact: TypeAlias = MeshChange | IssuerKeys | FetchedModule | CredentialVerdict
