"""Patches to clusters."""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from controlplane.envoy.patching.merging import merge
from controlplane.envoy.patching.patch_values import message_of
from controlplane.translate.patches.patch import EnvoyPatch, PatchOperation, PatchOutcome
from controlplane.translate.patches.places import is_cluster
from controlplane.translate.patches.soundness import why_refused


def patched_cluster(cluster: Cluster, patches: Iterable[EnvoyPatch], outcome: PatchOutcome) -> Cluster | None:
    """Return what ``patches`` make of ``cluster``, and note in ``outcome`` what became of each; ``None``: one has removed it."""
    current = cluster
    for patch in patches:
        head = patch.head
        if head.apply_to != "CLUSTER" or not is_cluster(head.place, cluster.name):
            continue
        if head.operation is PatchOperation.REMOVE:
            outcome.applied.append(patch.ref)
            return None
        if not head.operation.merges:
            continue
        candidate = Cluster()
        candidate.CopyFrom(current)
        replaces_lists = head.operation is PatchOperation.MERGE_AND_REPLACE_LIST
        merge(candidate, message_of("CLUSTER", patch.value), patch.cleared, replaces_lists=replaces_lists)
        refused = why_refused(candidate)
        if candidate.name != current.name:
            refused = "the name of a cluster cannot be changed"
        if refused:
            outcome.note_fault(patch, f"cluster {cluster.name} stays without it: {refused}")
        else:
            outcome.applied.append(patch.ref)
            current = candidate
    return current
