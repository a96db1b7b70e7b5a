"""One patch in our own words: what it is for, what it does, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from controlplane.envoy.patching.json_values import Trail
from controlplane.errors import UserError
from controlplane.model.keys import Key


class PatchContext(StrEnum):
    """Whose configuration is patched."""

    ANY = "ANY"
    SIDECAR_INBOUND = "SIDECAR_INBOUND"
    SIDECAR_OUTBOUND = "SIDECAR_OUTBOUND"
    GATEWAY = "GATEWAY"


class PatchOperation(StrEnum):
    """What is done."""

    MERGE = "MERGE"
    MERGE_AND_REPLACE_LIST = "MERGE_AND_REPLACE_LIST"
    ADD = "ADD"
    REMOVE = "REMOVE"
    REPLACE = "REPLACE"
    INSERT_BEFORE = "INSERT_BEFORE"
    INSERT_AFTER = "INSERT_AFTER"
    INSERT_FIRST = "INSERT_FIRST"

    @property
    def merges(self) -> bool:
        """Return whether what is there becomes part of the result."""
        return self in {PatchOperation.MERGE, PatchOperation.MERGE_AND_REPLACE_LIST}


class PatchRef(NamedTuple):
    """The patch at ``position`` of the EnvoyFilter ``key``."""

    key: Key
    position: int

    @property
    def path(self) -> str:
        """Return its field."""
        return f"spec.configPatches[{self.position}]"


class ListenerPlace(NamedTuple):
    """Listeners, their filter chains and the filters in these; what is empty, or 0, is not looked at."""

    name: str = ""
    port: int = 0
    listener_filter: str = ""
    chain: str = ""
    sni: str = ""
    transport_protocol: str = ""
    application_protocols: tuple[str, ...] = ()
    destination_port: int = 0
    network_filter: str = ""
    http_filter: str = ""


class RoutePlace(NamedTuple):
    """Route configurations, and the virtual hosts and routes in them; what is empty, or 0, is not looked at."""

    name: str = ""
    port: int = 0
    port_name: str = ""
    gateway: str = ""  # namespace/name
    host_name: str = ""
    domain: str = ""
    route: str = ""
    action: str = ""  # ROUTE, REDIRECT or DIRECT_RESPONSE


class ClusterPlace(NamedTuple):
    """Clusters; what is empty, or 0, is not looked at."""

    name: str = ""
    service: str = ""
    subset: str = ""
    port: int = 0


Place = ListenerPlace | RoutePlace | ClusterPlace | None  # None: everything


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchHead:
    """Where a patch applies."""

    apply_to: str
    operation: PatchOperation
    context: PatchContext = PatchContext.ANY
    place: Place = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoyPatch:
    """A patch whose value can be used."""

    ref: PatchRef
    head: PatchHead
    value: bytes = b""  # the message, encoded
    cleared: tuple[Trail, ...] = ()
    filter_class: str = ""  # AUTHN, AUTHZ or STATS


class PatchFault(NamedTuple):
    """Why a patch, at a field of it, could not be applied to something."""

    ref: PatchRef
    field: str
    message: str


class PatchRefused(UserError):
    """A patch that does not fit what it would be applied to; the message says why."""


@dataclass(slots=True)
class PatchOutcome:
    """What became of patches: which were applied, and which could not be."""

    applied: list[PatchRef] = field(default_factory=list)
    faults: list[PatchFault] = field(default_factory=list)

    def note_fault(self, patch: EnvoyPatch, message: str) -> None:
        """Take note that ``patch`` could not be applied."""
        name = "value" if patch.head.operation is not PatchOperation.REMOVE else "operation"
        self.faults.append(PatchFault(patch.ref, f"{patch.ref.path}.patch.{name}", message))
