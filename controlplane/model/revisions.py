"""Revisions: several control planes may run side by side, and a label says which of them an object is for.

https://istio.io/latest/docs/setup/upgrade/canary/
"""

from __future__ import annotations

from controlplane.model.keys import CONFIGURATION_GROUPS, Key

REVISION_LABEL = "istio.io/rev"
DEFAULT_REVISION = "default"


def is_of_revision(key: Key, label: str | None, revision: str) -> bool:
    """Return whether the object ``key`` is for the control plane of ``revision``: its ``label`` says so, or it has none."""
    # Pods and namespaces have the label for their injection.
    return label is None or label == revision or key.group not in CONFIGURATION_GROUPS
