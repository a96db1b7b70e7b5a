"""The ports that iptables send connections to, on the machine itself: one test at a time may have an Envoy listen there."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.caches import cache_root
from tests.support.processes import port_owners

CAPTURE_PORTS = (15001, 15006)


@contextmanager
def capture_ports() -> Iterator[None]:
    """Have the ports until the block ends, when other tests have done with them; skip the test where somebody else listens there."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / "capture-ports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if any(port_owners("0.0.0.0", port) for port in CAPTURE_PORTS):
            pytest.skip(f"not run: somebody listens on {CAPTURE_PORTS}, and Envoy would share them without an error")
        yield
