"""The inputs of the mesh, a value each: an object, the keys of a token issuer, a module, whether a credential can be used, or a fault.

None of them can hold a Secret: see ``objects.changes.split``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, assert_never

from controlplane.model.faults.faults import FaultId, StagedFault
from controlplane.model.keys import ENDPOINT_KINDS, Key
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


@dataclass(frozen=True, slots=True)
class FaultChange:
    """The fault ``id`` of a drill is as ``staged`` now; ``None``: it is gone, and nothing of it is left."""

    id: FaultId
    staged: StagedFault | None


_PIECE_SIZE = 200  # facts applied at a time
Fact: TypeAlias = MeshChange | IssuerKeys | FetchedModule | CredentialVerdict | FaultChange


class Mailbox:
    """Facts that were submitted and are not applied yet: the latest about each thing, so there are never more than there are things."""

    def __init__(self) -> None:
        """Begin empty."""
        self.sources: set[str] = set()
        self.since: dict[str, int] = {}  # by source: when the first of its facts was noticed, in nanoseconds since the epoch
        self._changes: dict[Key, MeshChange] = {}
        self._endpoints: dict[Key, MeshChange] = {}  # changes of what says where instances are
        self._keys: dict[str, IssuerKeys] = {}
        self._modules: dict[ModuleSource, FetchedModule] = {}
        self._verdicts: dict[str, CredentialVerdict] = {}
        self._faults: dict[FaultId, FaultChange] = {}

    def put(self, source: str, facts: Iterable[Fact], since_ns: int) -> bool:
        """Take ``facts`` of ``source`` in, noticed ``since_ns``; return whether any of them is about the keys of issuers, or a module."""
        self.sources.add(source)
        has_keys = False
        for fact in facts:
            self.since.setdefault(source, since_ns)
            match fact:
                case MeshChange():
                    changes = self._endpoints if fact.key.group_kind in ENDPOINT_KINDS else self._changes
                    changes[fact.key] = fact
                case IssuerKeys():
                    self._keys[fact.address] = fact
                    has_keys = True
                case FetchedModule():
                    self._modules[fact.source] = fact
                    has_keys = True
                case CredentialVerdict():
                    self._verdicts[fact.name] = fact
                case FaultChange():
                    self._faults[fact.id] = fact
                case _:
                    assert_never(fact)
        return has_keys

    def __len__(self) -> int:
        """Return how many facts there are."""
        return len(self._changes) + len(self._endpoints) + len(self._keys) + len(self._modules) + len(self._verdicts) + len(self._faults)

    @property
    def has_endpoints_alone(self) -> bool:
        """Return whether all facts say where instances are."""
        return 0 < len(self._endpoints) == len(self)

    def pieces(self) -> Iterator[Sequence[Fact]]:
        """Yield everything in pieces: objects first, then what was fetched, then verdicts."""
        fetched: list[Fact] = [*self._keys.values(), *self._modules.values()]
        yield from _pieces([*self._changes.values(), *self._endpoints.values(), *fetched, *self._verdicts.values(), *self._faults.values()])

    def take_endpoints(self) -> Iterator[Sequence[Fact]]:
        """Yield what has been submitted about endpoints in pieces, and keep it no longer."""
        endpoints, self._endpoints = self._endpoints, {}
        return _pieces([*endpoints.values()])


def _pieces(facts: Sequence[Fact]) -> Iterator[Sequence[Fact]]:
    for start in range(0, len(facts), _PIECE_SIZE):
        yield facts[start : start + _PIECE_SIZE]
