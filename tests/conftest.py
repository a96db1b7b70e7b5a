"""What all tests share: how Hypothesis looks for counterexamples, and which tests begin first."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

# No deadline for an example: other processes share the machine, and how fast code is, is measured by `make bench`.
settings.register_profile("navarch", deadline=None, database=DirectoryBasedExampleDatabase(".cache/hypothesis"))
settings.load_profile("navarch")

# Side by side, each file goes to one process. What takes longest begins first, so that none of it is left when all else is done.
_LONG = (
    "tests/kube/test_upheaval.py",
    "tests/kube/test_edits.py",
    "tests/kube/test_demo.py",
    "tests/kube/test_faults.py",
    "tests/kube/test_sidecars.py",
    "tests/kube/test_ha.py",
    "tests/live/test_demo.py",
    "tests/kube/test_relayed.py",
    "tests/edges/test_authority_folder.py",
    "tests/edges/test_cli_identity.py",
    "tests/live/test_mutual_tls.py",
    "tests/kube/test_samples.py",
    "tests/kube/test_identity.py",
    "tests/edges/test_limits.py",
    "tests/live/test_restart.py",
    "tests/live/test_edits_under_load.py",
    "tests/kube/test_webhook.py",
    "tests/live/test_samples.py",
    "tests/live/test_tokens.py",
    "tests/live/test_authorization.py",
    "tests/kube/test_spoiled.py",
    "tests/kube/test_gateway.py",
    "tests/kube/test_manifests.py",
    "tests/edges/test_iptables.py",
    "tests/edges/test_canaries.py",
    "tests/edges/test_renewals.py",
    "tests/edges/test_slow_readers.py",
    "tests/live/test_virtual_machine.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long ones first."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    file = item.nodeid.partition("::")[0]
    return _LONG.index(file) if file in _LONG else len(_LONG)
