"""Revisions: several control planes may run side by side, and a label says which of them an object is for.

https://istio.io/latest/docs/setup/upgrade/canary/
"""

from __future__ import annotations

from controlplane.model.keys import EXTENSIONS, GATEWAY_API, NETWORKING, SECURITY, TELEMETRY, Key

REVISION_LABEL = "istio.io/rev"
DEFAULT_REVISION = "default"
_CONFIGURATION = (NETWORKING, SECURITY, TELEMETRY, EXTENSIONS, GATEWAY_API)  # pods and namespaces have the label for their injection


def is_of_revision(key: Key, label: str | None, revision: str) -> bool:
    """Return whether the object ``key`` is for the control plane of ``revision``: its ``label`` says so, or it has none."""
    return label is None or label == revision or key.group not in _CONFIGURATION
