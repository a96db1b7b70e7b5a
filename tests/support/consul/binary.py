"""The real Consul: found where NAVARCH_CONSUL says or in the cache, where `python -m tests.support.consul.binary` builds it with Go.

That takes minutes and gigabytes, so no test does it: where Consul is not there, tests say so, and run against the double alone
(`tests/support/fakes/consul.py`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import go_programs

HERE = Path(__file__).parent
HOW = "set NAVARCH_CONSUL to a binary, or install Go and run: python -m tests.support.consul.binary"


def found() -> Path | None:
    """Return where Consul is, if it is anywhere."""
    if given := os.environ.get("NAVARCH_CONSUL"):
        return Path(given)
    kept = _target()
    return kept if kept.is_file() else None


def needed() -> Path:
    """Return the program; skip the test where it is not there."""
    path = found()
    if path is None:
        pytest.skip(f"not run with a real Consul, as it is not there; {HOW}")
    return path


def _target() -> Path:
    return go_programs.kept("consul", HERE.glob("go.*")) / "consul"


def main() -> None:
    """Build what is missing, and say where it is."""
    path = found()
    if path is None and go_programs.go_is_there():
        path = go_programs.built(_target(), HERE, "github.com/hashicorp/consul", ("-ldflags", "-s -w"))
    print(path or f"Consul is not there, so tests use the double alone; {HOW}")


if __name__ == "__main__":
    main()
