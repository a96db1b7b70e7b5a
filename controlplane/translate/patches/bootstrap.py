"""Patches to what an Envoy is started with: they reach a proxy when it is made, and never again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import NamedTuple

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from google.protobuf import json_format

from controlplane.envoy.constraints import violations
from controlplane.envoy.patching.json_values import read_message
from controlplane.envoy.patching.merging import merge
from controlplane.envoy.patching.patch_values import message_of
from controlplane.translate.patches.patch import EnvoyPatch, PatchContext, PatchOperation, PatchOutcome

Labels = tuple[tuple[str, str], ...]


class BootstrapPatch(NamedTuple):
    """A patch, and the workloads that it is for: those of ``namespace``, if any, with all labels of one of ``choices``."""

    patch: EnvoyPatch
    namespace: str
    choices: tuple[Labels, ...]

    def is_for(self, namespace: str, labels: Mapping[str, str], *, gateway: bool) -> bool:
        """Return whether it is for the proxy, a ``gateway`` or not, of a workload of ``namespace`` with ``labels``."""
        contexts = {PatchContext.ANY, PatchContext.GATEWAY} if gateway else set(PatchContext) - {PatchContext.GATEWAY}
        if self.patch.head.context not in contexts or self.namespace not in {"", namespace}:
            return False
        return any(set(labels.items()).issuperset(choice) for choice in self.choices)


def patched_bootstrap(document: Mapping[str, object], patches: Iterable[EnvoyPatch], outcome: PatchOutcome) -> dict[str, object]:
    """Return the bootstrap ``document``, proto3 JSON, after ``patches``, and note in ``outcome`` what became of each."""
    current = read_message(Bootstrap, document, "").message
    for patch in patches:
        candidate = deepcopy(current)
        replaces_lists = patch.head.operation is PatchOperation.MERGE_AND_REPLACE_LIST
        merge(candidate, message_of("BOOTSTRAP", patch.value), patch.cleared, replaces_lists=replaces_lists)
        if broken := violations(candidate):
            outcome.note_fault(patch, f"the bootstrap stays without it: Envoy would refuse the result: {broken[0]}")
        else:
            outcome.applied.append(patch.ref)
            current = candidate
    return dict(document) if not outcome.applied else json_format.MessageToDict(current, preserving_proto_field_name=True)
