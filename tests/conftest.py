"""What all tests share: the seed of random cases, the end of what they start, and which tests begin first."""

from __future__ import annotations

import os
import secrets

import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.support import leftovers
from tests.support.proofs import TIMES, cases

# No deadline for an example: other processes share the machine, and how fast code is, is measured by `make bench`.
_DATABASE = DirectoryBasedExampleDatabase(".cache/hypothesis")
settings.register_profile("navarch", deadline=None, database=_DATABASE, max_examples=cases(100), print_blob=True)
settings.load_profile("navarch")
os.environ.setdefault("NAVARCH_SEED", str(secrets.randbelow(2**32)))  # another one each run, the same in all of its processes

# Side by side, each file goes to one process. What takes longest begins first, so that none of it is left when all else is done.
_LONG = (
    "tests/kube/test_faults.py",
    "tests/kube/test_demo.py",
    "tests/kube/test_upheaval.py",
    "tests/live/test_authorization.py",
    "tests/live/test_tokens.py",
    "tests/kube/test_ha.py",
    "tests/kube/test_relayed.py",
    "tests/edges/test_cli_identity.py",
    "tests/kube/test_edits.py",
    "tests/live/test_demo.py",
    "tests/live/test_golden_accepted.py",
    "tests/kube/test_spoiled.py",
    "tests/kube/test_identity.py",
    "tests/edges/test_iptables.py",
    "tests/kube/test_sidecars.py",
    "tests/kube/test_webhook.py",
    "tests/kube/test_injection.py",
    "tests/live/test_virtual_machine.py",
    "tests/kube/test_samples.py",
    "tests/edges/test_default_deny.py",
    "tests/kube/test_manifests.py",
    "tests/kube/test_status.py",
    "tests/live/test_mesh_settings.py",
    "tests/kube/test_doors.py",
    "tests/live/test_machine_probes.py",
    "tests/kube/test_registrations.py",
    "tests/live/test_restart.py",
    "tests/kube/test_least_rights.py",
    "tests/live/test_mutual_tls.py",
    "tests/live/test_samples.py",
    "tests/live/test_simulation.py",
    "tests/kube/test_gateway.py",
    "tests/live/test_bootstrap.py",
    "tests/live/test_gateway.py",
    "tests/kube/test_source.py",
    "tests/edges/test_cli.py",
    "tests/kube/test_rotation.py",
    "tests/live/test_virtual_machine_apart.py",
    "tests/live/test_families.py",
    "tests/edges/test_renewals.py",
    "tests/edges/test_doors.py",
    "tests/live/test_authorizers.py",
    "tests/kube/test_credentials.py",
    "tests/kube/test_crds.py",
)

_GUARD = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Have Hypothesis begin with the seed, and a guard that ends what the tests start."""
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = os.environ["NAVARCH_SEED"]
    config.stash[_GUARD] = leftovers.guarded()


def pytest_report_header() -> str:
    """Say by which seed this run can be had again."""
    return _seed()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it where there is no header (``-q``) too."""
    terminalreporter.write_line(_seed())


def _seed() -> str:
    return f"random cases: NAVARCH_SEED={os.environ['NAVARCH_SEED']} has these again, {TIMES} times a sample"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long ones first."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    file = item.nodeid.partition("::")[0]
    return _LONG.index(file) if file in _LONG else len(_LONG)
