"""What all tests share: how Hypothesis looks for counterexamples, and which tests begin first."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

# No deadline for an example: other processes share the machine, and how fast code is, is measured by `make bench`.
settings.register_profile("navarch", deadline=None, database=DirectoryBasedExampleDatabase(".cache/hypothesis"))
settings.load_profile("navarch")

# Where tests run side by side, a file goes to one process: what takes longest begins first, so that none of it is left when all else is done.
_LONG = tuple(
    f"tests/{name}.py"
    for name in (
        *(
            "kube/test_edits",
            "kube/test_demo",
            "kube/test_faults",
            "kube/test_sidecars",
            "kube/test_ha",
            "live/test_demo",
            "kube/test_relayed",
        ),
        *("edges/test_authority_folder", "edges/test_cli_identity", "live/test_mutual_tls", "kube/test_samples", "kube/test_identity"),
        *(
            "edges/test_limits",
            "live/test_restart",
            "live/test_edits_under_load",
            "kube/test_webhook",
            "live/test_samples",
            "live/test_tokens",
        ),
    )
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long ones first."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    file = item.nodeid.partition("::")[0]
    return _LONG.index(file) if file in _LONG else len(_LONG)
